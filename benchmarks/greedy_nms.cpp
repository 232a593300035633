// Non-maximum suppression as it is written where speed counts: down the list of scores, and from each box that stays
// once over all that are left. This is what the NumPy reference is timed against.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

template <typename T>
void greedy(const T* boxes, const T* scores, int64_t n, T threshold, uint8_t* keep) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return scores[i] > scores[j]; });
  std::vector<T> x1(n), y1(n), x2(n), y2(n), area(n);
  for (int64_t i = 0; i < n; ++i) {
    const T* box = boxes + 4 * order[i];
    x1[i] = box[0], y1[i] = box[1], x2[i] = box[2], y2[i] = box[3];
    area[i] = (x2[i] - x1[i]) * (y2[i] - y1[i]);
  }
  std::vector<uint8_t> suppressed(n, 0);
  for (int64_t i = 0; i < n; ++i) {
    keep[order[i]] = !suppressed[i];
    if (suppressed[i]) continue;
    for (int64_t j = i + 1; j < n; ++j) {
      if (suppressed[j]) continue;
      const T width = std::max(T(0), std::min(x2[i], x2[j]) - std::max(x1[i], x1[j]));
      const T height = std::max(T(0), std::min(y2[i], y2[j]) - std::max(y1[i], y1[j]));
      const T inter = width * height;
      if (inter / (area[i] + area[j] - inter) > threshold) suppressed[j] = 1;
    }
  }
}

extern "C" {
void nms_float64(const double* boxes, const double* scores, int64_t n, double threshold, uint8_t* keep) {
  greedy<double>(boxes, scores, n, threshold, keep);
}
void nms_float32(const float* boxes, const float* scores, int64_t n, double threshold, uint8_t* keep) {
  greedy<float>(boxes, scores, n, static_cast<float>(threshold), keep);
}
}

// A wide formula scrolls inside itself: let the keyboard reach it, but only while there is something to scroll.
(() => {
  const mark = () => {
    for (const formula of document.querySelectorAll(".katex-display")) {
      if (formula.scrollWidth > formula.clientWidth + 1) {
        formula.tabIndex = 0;
        formula.setAttribute("role", "group");
        formula.setAttribute("aria-label", "wide formula");
      } else {
        for (const name of ["tabindex", "role", "aria-label"]) formula.removeAttribute(name);
      }
    }
  };
  addEventListener("load", () => document.fonts.ready.then(mark));
  addEventListener("resize", mark);
  document.addEventListener("toggle", mark, true); // a formula inside a dropdown has a width once it is open
})();

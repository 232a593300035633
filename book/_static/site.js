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

// Without a server, a page may not read the others, so a search shows their titles and sections only.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Paper is white and can't be clicked: a printed page is light and has everything open but the hints of exercises.
// What is wider than the paper becomes smaller.
(() => {
  const paper = 660; // pixels between the margins of A4
  const page = document.documentElement;
  let theme, opened, shrunk;
  addEventListener("beforeprint", () => {
    theme = page.dataset.theme;
    page.dataset.theme = "light";
    const closed = document.querySelectorAll("article details:not([open])");
    opened = [...closed].filter((details) => !details.closest("section.question"));
    for (const details of opened) details.open = true;
    for (const picture of document.images) picture.loading = "eager";
    const width = (box) => Math.max(box.scrollWidth, ...[...box.children].map((part) => part.scrollWidth));
    const wide = [...document.querySelectorAll("article :is(.katex-display, table)")].map((box) => [box, width(box)]);
    shrunk = wide.filter(([, needed]) => needed > paper);
    for (const [box, needed] of shrunk) box.style.zoom = paper / needed;
  });
  addEventListener("afterprint", () => {
    page.dataset.theme = theme;
    for (const details of opened) details.open = false;
    for (const [box] of shrunk) box.style.zoom = "";
  });
})();

// A result of the search may lead to a place without a text of its own: it is summed up by its page.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  const text = Search.htmlToText;
  Search.htmlToText = (page, anchor) => text(page, anchor) || text(page);
});

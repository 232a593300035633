// The filter of the formula sheet: narrows its entries by name, letters and functions as one types.
(() => {
  const form = document.querySelector(".formula-filter");
  const input = form.querySelector("input");
  const said = form.querySelector("[role=status]");
  const entries = [...document.querySelectorAll("section.formula")];
  const blocks = [...document.querySelectorAll("article section section:has(section.formula)")];
  const unread = ".katex-html, .field-sheets, .field-notes, .field-links, .admonition, .sheets-own, .headerlink";

  const words = (entry) => {
    const copy = entry.cloneNode(true);
    copy.querySelectorAll(unread).forEach((part) => part.remove());
    const names = [...entry.querySelectorAll("dd.field-links code")].map((code) => code.textContent);
    const labels = [...entry.querySelectorAll(":scope > span[id]")].map((label) => label.id);
    const block = entry.parentElement.closest("section").querySelector("h2, h3, h4").textContent;
    return [copy.textContent, block, entry.id, ...labels, ...names.filter((name) => !/^tests?[_/]/.test(name))].join("\n").toLowerCase();
  };
  let texts;

  const filter = () => {
    texts ??= entries.map(words);
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    entries.forEach((entry, k) => (entry.hidden = !wanted.every((word) => texts[k].includes(word))));
    for (const block of blocks) block.hidden = !block.querySelector("section.formula:not([hidden])");
    const left = entries.filter((entry) => !entry.hidden).length;
    said.textContent = wanted.length ? `${left || "none"} of ${entries.length} formulas and tables` : "";
  };
  const clear = () => {
    input.value = "";
    filter();
  };
  // A link to an entry that is filtered out shows all of them again.
  const reveal = (hash) => {
    const target = hash && document.getElementById(decodeURIComponent(hash.slice(1)));
    if (!target?.closest("[hidden]")) return;
    clear();
    target.scrollIntoView();
  };

  input.addEventListener("input", filter);
  input.addEventListener("keydown", (event) => event.key === "Escape" && clear());
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", () => reveal(location.hash));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href*='#']");
    if (link && link.pathname === location.pathname) reveal(link.hash);
  });
  form.hidden = false;
  if (input.value) filter(); // a browser that comes back to the page remembers what was typed
})();

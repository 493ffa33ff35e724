// Formulas, tables, figures and outputs that are wider than the screen can be scrolled with the keyboard too.
(() => {
  const boxes = ".katex-display, .cell_output .output, .cell_output figure, .pst-scrollable-table-container";
  const mark = () => document.querySelectorAll(boxes).forEach((box) => {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
  addEventListener("load", mark);
  addEventListener("resize", mark);
})();

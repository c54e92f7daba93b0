/* Draws the charts of a page from the JSON that stands in it. */
const NARROW = 560; // A title of one line does not fit there; the sentence below the chart says the same.

for (const element of document.querySelectorAll('.qnb-figure')) {
  const held = JSON.parse(element.querySelector('script').textContent);
  element.replaceChildren();
  const layout = { ...held.layout, autosize: true, width: undefined };
  if (element.clientWidth < NARROW) {
    layout.title = undefined;
  }
  Plotly.newPlot(element, held.data, layout, { displaylogo: false, responsive: true });
}

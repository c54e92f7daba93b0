/* Draws the charts of a page from the JSON that stands in it. */
for (const element of document.querySelectorAll('.qnb-figure')) {
  const held = JSON.parse(element.querySelector('script').textContent);
  element.replaceChildren();
  const layout = { ...held.layout, autosize: true, width: undefined };
  Plotly.newPlot(element, held.data, layout, { displaylogo: false, responsive: true });
}

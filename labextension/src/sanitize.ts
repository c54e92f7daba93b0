/**
 * Plotly figures from a file or an output are data from somebody else. Plotly draws them; only what qnb's charts use is
 * handed on. So nothing in a figure can load something from elsewhere (images, maps, templates by address), add a
 * button, run, or pose as part of JupyterLab. The renderer's settings are ours.
 */
import { Json, list, object, text } from './contract';

const TRACES = ['bar', 'scatter'];
/** Every name that stands in a figure of qnb's, at whatever depth; the same as FIGURE_KEYS in qnb/document_schema.py. */
const KEYS = new Set(
  `
  activecolor align annotations array arrayminus arrowcolor arrowhead arrowwidth automargin ax ay ayref b bargap
  barmode base bgcolor bordercolor categoryarray categoryorder cliponaxis color colorway constrain customdata dash
  dragmode dtick dx error_y exponentformat family fgcolor fill fillcolor fixedrange font gridcolor height
  hoverdistance hoverformat hoverinfo hoverlabel hovermode hovertemplate hovertext l layer layout legend legendgroup
  line linecolor margin marker mode modebar name namelength offsetgroup opacity orientation overlaying pad
  paper_bgcolor pattern plot_bgcolor r range rangemode remove scaleanchor shape shapes showarrow showgrid showlegend
  showspikes showticklabels side size solidity standoff subtitle symbol t template text textfont textposition
  thickness tickcolor tickfont tickformat ticklen tickmode ticks ticktext tickvals title type visible weight width x
  x0 x1 xanchor xaxis xref xshift y y0 y1 yanchor yaxis yaxis2 yref yshift zeroline zerolinecolor zerolinewidth
`.match(/\w+/g)
);
/** Plotly knows more tags, `a` among them. */
const TAG = /<(?=[a-z/!?])[^<>]*>?/gi;
const ALLOWED_TAG = /^<\/?(?:br|b|i|sub|sup|extra)\s*\/?>$/i;
const CONFIG = { responsive: true, displaylogo: false };
const DEEPEST = 12;
const LONGEST = 2_000;
const MOST_OBJECTS = 300;
const MOST_VALUES = 200_000;

/** Escape every tag that is not on the list; what looks like no tag stays as it is. */
export function cleanText(value: string): string {
  return text(value, LONGEST).replace(TAG, found => (ALLOWED_TAG.test(found) ? found : found.replace('<', '&lt;')));
}

/** Takes out of a figure what is not known; one for each figure, because it counts. */
class Cleaner {
  object(value: unknown, depth = 0): Json {
    const kept: Json = {};
    for (const [name, item] of Object.entries(object(value))) {
      if (KEYS.has(name)) {
        kept[name] = this.value(item, depth + 1);
      }
    }
    return kept;
  }

  private value(value: unknown, depth: number): unknown {
    this.left -= 1;
    if (depth > DEEPEST || this.left < 0) {
      return null;
    }
    if (typeof value === 'string') {
      return cleanText(value);
    }
    if (Array.isArray(value)) {
      const parts = value.some(item => typeof item === 'object' && item !== null && !Array.isArray(item));
      const short = parts ? value.slice(0, MOST_OBJECTS) : value;
      return short.slice(0, Math.max(0, this.left)).map(item => this.value(item, depth + 1));
    }
    return typeof value === 'object' && value !== null ? this.object(value, depth) : value;
  }

  private left = MOST_VALUES;
}

/** A figure's height in pixels, known before Plotly has drawn, so that nothing below jumps. */
export function height(layout: unknown): number {
  const given = object(layout).height;
  return typeof given === 'number' ? Math.min(Math.max(given, 60), 2000) : 360;
}

/** A figure that is safe to hand to Plotly: known traces, known names, text as text, our own config. */
export function cleanFigure(value: unknown): Json {
  const figure = object(value);
  const cleaner = new Cleaner();
  const data = list(figure.data, MOST_OBJECTS)
    .map(trace => ({ ...cleaner.object(trace), type: text(object(trace).type) || 'scatter' }))
    .filter(({ type }) => TRACES.includes(type));
  const layout = cleaner.object(figure.layout);
  // As wide as its cell, whatever it says.
  for (const part of [layout, object(object(layout.template).layout)]) {
    delete part.width;
  }
  return { data, layout: { ...layout, height: height(layout) }, config: CONFIG };
}

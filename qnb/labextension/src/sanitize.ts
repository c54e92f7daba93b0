/**
 * Plotly figures from a file or an output are data from somebody else. Plotly draws them; what could load
 * something from elsewhere, run, or pose as part of JupyterLab is taken out first.
 */
import { Json, list, object, text } from './contract';

const TRACES = ['bar', 'scatter', 'scattergl', 'heatmap', 'histogram'];
/** Plotly knows more tags, `a` among them. */
const TAG = /<(?=[a-z/!?])[^<>]*>?/gi;
const ALLOWED_TAG = /^<\/?(?:br|b|i|sub|sup|extra)\s*\/?>$/i;
const DROPPED_IN_LAYOUT = ['images', 'updatemenus', 'sliders', 'mapbox', 'map', 'geo', 'scene'];
const CONFIG = { responsive: true, displaylogo: false };
const DEEPEST = 40;

/** Escape every tag that is not on the list; what looks like no tag stays as it is. */
export function cleanText(value: string): string {
  return value.replace(TAG, found => (ALLOWED_TAG.test(found) ? found : found.replace('<', '&lt;')));
}

function cleanValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') {
    return cleanText(value);
  }
  if (depth > DEEPEST) {
    return null;
  }
  if (Array.isArray(value)) {
    return value.map(item => cleanValue(item, depth + 1));
  }
  return typeof value === 'object' && value !== null ? cleanObject(value as Json, depth) : value;
}

function cleanObject(value: Json, depth: number): Json {
  const kept: Json = {};
  for (const [name, item] of Object.entries(value)) {
    // Names that end in "src" say where to load the value from.
    if (/^[A-Za-z_][\w.-]*$/.test(name) && name !== '__proto__' && !/src$/i.test(name)) {
      kept[name] = cleanValue(item, depth + 1);
    }
  }
  return kept;
}

function cleanLayout(value: unknown): Json {
  const layout = cleanObject(object(value), 0);
  for (const name of DROPPED_IN_LAYOUT) {
    delete layout[name];
  }
  const template = object(layout.template);
  const inner = object(template.layout);
  for (const name of DROPPED_IN_LAYOUT) {
    delete inner[name];
  }
  if (layout.template !== undefined) {
    layout.template = { layout: inner, data: cleanTemplateData(template.data) };
  }
  return layout;
}

/** A template's traces come by type. */
function cleanTemplateData(value: unknown): Json {
  const given = object(value);
  return Object.fromEntries(TRACES.filter(type => type in given).map(type => [type, given[type]]));
}

/** A figure that is safe to hand to Plotly: known traces, text as text, our own config. */
export function cleanFigure(value: unknown): Json {
  const figure = object(value);
  const data = list(figure.data)
    .map(object)
    .filter(trace => TRACES.includes(text(trace.type) || 'scatter'))
    .map(trace => cleanObject(trace, 0));
  return { data, layout: cleanLayout(figure.layout), config: CONFIG };
}

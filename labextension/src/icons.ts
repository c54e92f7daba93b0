import { LabIcon } from '@jupyterlab/ui-components';

/** Steps down: fewer bits at each. */
export const qnbIcon = new LabIcon({
  name: 'qnb:icon',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 24 24">
  <g class="jp-icon3 jp-icon-selectable" fill="#616161">
    <path d="M3 4h4.5v16H3z"/><path d="M9.75 9h4.5v11h-4.5z"/><path d="M16.5 14H21v6h-4.5z"/>
  </g>
</svg>`
});

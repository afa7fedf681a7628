import { createHash } from 'node:crypto';
import { printable } from '../text.ts';
import type { ReportData } from './data.ts';

/** The script and the style of the page, as esbuild bundled them from `reports/html/page`. */
interface PageAssets {
  script: string;
  style: string;
}

/**
 * The report as one file that needs nothing else. What a kernel or a user said is text in it and
 * nothing more, three times over: it stands in a JSON block in which no tag can begin, the page makes
 * text nodes of it, and the content security policy lets no script run but the page's own.
 */
export function renderHtml(data: ReportData, { script, style }: PageAssets): string {
  const code = script.replaceAll('</script', '<\\/script');
  const hash = createHash('sha256').update(code).digest('base64');
  const policy =
    `default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'; ` +
    `base-uri 'none'; form-action 'none'`;
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    '<title>vfio-conformance</title>',
    `<style>${style}</style>`,
    '<div id="app"></div>',
    '<noscript>This report needs JavaScript. results.json and results.tap say the same.</noscript>',
    `<script type="application/json" id="data">${embed(data)}</script>`,
    `<script>${code}</script>`,
    '</html>',
    '',
  ].join('\n');
}

/** JSON in which no text can end the block that holds it, nor hide what it says from the reader. */
function embed(data: ReportData): string {
  return JSON.stringify(data, (_, value: unknown) =>
    typeof value === 'string' ? printable(value) : value,
  ).replaceAll('<', '\\u003c');
}

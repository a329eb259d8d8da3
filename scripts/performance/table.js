/** Tables in Markdown, aligned as Prettier does. */

/** A table; rows and header are lists of texts. */
export function table(header, rows) {
  const widths = header.map((_, column) =>
    Math.max(3, ...[header, ...rows].map((row) => [...row[column]].length)),
  );
  const line = (cells) =>
    `| ${cells.map((cell, i) => cell + ' '.repeat(widths[i] - [...cell].length)).join(' | ')} |`;
  return [header, widths.map((width) => '-'.repeat(width)), ...rows].map(line).join('\n');
}

/** 1,234; 123; 12.3: three digits or what is before the point. */
export function figure(value) {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumSignificantDigits: 3 });
}

/** Text with the part between a mark and its end replaced. Throws if the mark is not there. */
export function replaceBetween(page, name, content) {
  const begin = `<!-- ${name} -->\n`;
  const end = '<!-- end -->';
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`there is no ${begin.trim()} with its ${end}`);
  return `${page.slice(0, from + begin.length)}\n${content}\n\n${page.slice(to)}`;
}

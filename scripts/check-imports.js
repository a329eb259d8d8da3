/**
 * Holds the house to its plan (docs/architecture.md): who may import whom, and what the browser-safe core may name.
 *
 *   node scripts/check-imports.js [ROOT]      ROOT has the folder `lib`; default: the project
 *
 * Prints `file:line: rule: what is wrong` for each finding; exit status 1 if there is an error. Files over 500
 * lines are warned of, over 520 refused.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** Rooms from the top down. A file imports its own room or rooms below; rooms on one line never meet. */
const FLOORS = [
  ['cli'],
  ['node'],
  ['scenario'],
  ['network'],
  ['capture'],
  ['engine.ts'],
  ['rules'],
  ['nat'],
  ['conntrack'],
  ['fragments'],
  ['wire', 'memory'],
  ['host.ts', 'clock.ts', 'random.ts', 'errors.ts', 'counters.ts'],
];
const LEAVES = FLOORS.length - 1;
const FLOOR_OF = new Map(FLOORS.flatMap((rooms, floor) => rooms.map((room) => [room, floor])));

/** Rooms that may use Node. */
const NODE_ROOMS = new Set(['node', 'cli']);
/** Packages by the rooms that may import them; the public door's types need none of their own. */
const PACKAGES = new Map([
  ['xxhash-wasm', 'any'],
  ['eventemitter3', 'any'],
  ['commander', 'cli'],
  ['jsonc-parser', 'cli'],
  ['koffi', 'node'],
  ['ws', 'node'],
]);
/** Globals that only Node has. */
const NODE_GLOBALS = new Set([
  'Buffer',
  'process',
  'require',
  '__dirname',
  '__filename',
  'setImmediate',
  'global',
]);

const WARN_LINES = 500;
const MAX_LINES = 520;

/** Room of a path below lib/: its first folder, or the file itself. */
function roomOf(path) {
  return path.split('/')[0];
}

/** Findings of one source file; `path` is relative to lib/. */
function checkFile(path, text) {
  const findings = [];
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true);
  const report = (node, rule, message, level = 'error') => {
    const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
    findings.push({ path, line, rule, message, level });
  };
  const room = roomOf(path);
  if (room !== 'index.ts' && !FLOOR_OF.has(room)) {
    report(source, 'rooms', `'${room}' is no room of the house`);
    return findings;
  }

  const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
  if (lines > WARN_LINES) {
    findings.push({
      path,
      line: lines,
      rule: 'length',
      message: `${lines} lines; past ${WARN_LINES} a file hides a second noun`,
      level: lines > MAX_LINES ? 'error' : 'warning',
    });
  }

  const visit = (node) => {
    const specifier = specifierOf(node);
    if (specifier !== undefined) {
      const broken = judgeImport(path, room, specifier.text);
      if (broken !== undefined) report(specifier, broken[0], broken[1]);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      report(node, 'dynamic-import', 'the imported module must be a literal');
    }
    if (ts.isIdentifier(node) && isReference(node)) {
      if (!NODE_ROOMS.has(room) && NODE_GLOBALS.has(node.text)) {
        report(node, 'node-global', `'${node.text}' exists in Node only; this is the browser-safe core`);
      }
      if (node.text === 'eval' || node.text === 'Function') {
        if (node.text === 'eval' || isCalled(node)) {
          report(node, 'no-eval', `'${node.text}' makes code from text`);
        }
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return findings;
}

/** The string literal of an import, export-from, import type or dynamic import; undefined for other nodes. */
function specifierOf(node) {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return node.argument.literal;
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const argument = node.arguments[0];
    return argument !== undefined && ts.isStringLiteralLike(argument) ? argument : undefined;
  }
  return undefined;
}

/** [rule, message] of an import that is not allowed, else undefined. */
function judgeImport(path, room, specifier) {
  if (specifier.startsWith('node:')) {
    return NODE_ROOMS.has(room) ? undefined : ['node-import', `'${specifier}' in the browser-safe core`];
  }
  if (!specifier.startsWith('.')) {
    const name = specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
    const allowed = PACKAGES.get(name);
    if (allowed === undefined) return ['package', `'${name}' is not among the packages of the house`];
    return allowed === 'any' || allowed === room
      ? undefined
      : ['package', `'${name}' belongs to ${allowed}/`];
  }
  const target = posix.normalize(posix.join(posix.dirname(path), specifier)).replace(/\.js$/, '.ts');
  if (!specifier.endsWith('.js')) return ['suffix', `'${specifier}' must end in .js`];
  if (target.startsWith('..')) return ['rooms', `'${specifier}' leaves lib/`];
  if (target === 'index.ts') return ['index', 'nothing imports the public door lib/index.ts'];
  const other = roomOf(target);
  if (room === other) return undefined;
  const to = FLOOR_OF.get(other);
  if (to === undefined) return ['rooms', `'${other}' is no room of the house`];
  if (room === 'index.ts') {
    return NODE_ROOMS.has(other) ? ['rooms', `the core's door cannot lead to ${other}/`] : undefined;
  }
  const from = FLOOR_OF.get(room);
  if (from === to && from !== LEAVES) return ['rooms', `${room} and ${other} never meet`];
  if (from > to) return ['rooms', `${room} must not import ${other}, which stands above it`];
  return undefined;
}

/** Whether an identifier stands for a value or type of that name, not for a member or a declared name. */
function isReference(node) {
  const parent = node.parent;
  if (ts.isPropertyAccessExpression(parent)) {
    return parent.expression === node || isGlobalThis(parent.expression);
  }
  if (ts.isQualifiedName(parent)) return parent.left === node;
  return parent.name !== node && parent.propertyName !== node && parent.label !== node;
}

function isGlobalThis(node) {
  return ts.isIdentifier(node) && ['globalThis', 'window', 'self'].includes(node.text);
}

/** Whether `Function` is called or constructed, maybe through `globalThis`. */
function isCalled(node) {
  const callee = ts.isPropertyAccessExpression(node.parent) ? node.parent : node;
  const call = callee.parent;
  return (ts.isNewExpression(call) || ts.isCallExpression(call)) && call.expression === callee;
}

function sourcesOf(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((found) => found.isFile() && found.name.endsWith('.ts'))
    .map((found) =>
      relative(folder, join(found.parentPath ?? found.path, found.name))
        .split(sep)
        .join('/'),
    )
    .sort();
}

function main() {
  const root = resolve(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '..'));
  const lib = join(root, 'lib');
  const paths = sourcesOf(lib);
  const findings = paths.flatMap((path) => checkFile(path, readFileSync(join(lib, path), 'utf8')));
  for (const { path, line, rule, message, level } of findings) {
    console.log(`lib/${path}:${line}: ${level === 'warning' ? 'warning: ' : ''}${rule}: ${message}`);
  }
  const errors = findings.filter((finding) => finding.level === 'error').length;
  console.log(`${paths.length} files, ${errors} errors, ${findings.length - errors} warnings`);
  process.exitCode = errors > 0 ? 1 : 0;
}

main();

/**
 * Holds a JSON text to a JSON Schema (draft 7) and says of each fault where it is and what was expected. Cold.
 *
 * One truth: what editors read is what is checked here. So only the keywords in KEYWORDS are known, and a schema with
 * another one is refused, not half understood. Alternatives are told apart by their JSON type, and those that are
 * objects by a constant in `type`: errors are then about the alternative that was meant.
 */
import { ConfigurationError } from '../errors.js';
import type { JsonDocument, Node } from './json-document.js';

export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: false | JsonSchema;
  readonly items?: JsonSchema;
  readonly minItems?: number;
  readonly minLength?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly enum?: readonly (string | number | boolean)[];
  readonly const?: string | number | boolean;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, JsonSchema>>;
  readonly description?: string;
}

/** What words of a `format` must be: throws a ConfigurationError with a reason and what was expected. */
export type Formats = Readonly<Record<string, (word: string) => unknown>>;

/** Keywords that are understood; the last line says nothing about what is valid. */
const KEYWORDS: ReadonlySet<string> = new Set([
  ...['type', 'properties', 'required', 'additionalProperties', 'items', 'minItems', 'minLength', 'pattern'],
  ...['format', 'minimum', 'maximum', 'enum', 'const', 'anyOf', 'oneOf', '$ref', '$defs'],
  ...['$schema', '$id', 'title', 'description'],
]);

const DEFS = '#/$defs/';

export class SchemaCheck {
  readonly #schema: JsonSchema;
  readonly #formats: Formats;

  /** Throws a TypeError for a schema with keywords or formats that are not known here. */
  constructor(schema: JsonSchema, formats: Formats = {}) {
    this.#schema = schema;
    this.#formats = formats;
    this.#admit(schema);
  }

  /** All faults of a document, in the order of its text. */
  faults(document: JsonDocument): ConfigurationError[] {
    const faults: ConfigurationError[] = [];
    new Walk(document, this.#schema, this.#formats, faults).check(document.root, this.#schema);
    return faults.sort(
      ({ place: a }, { place: b }) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
    );
  }

  #admit(schema: JsonSchema): void {
    for (const keyword of Object.keys(schema)) {
      if (!KEYWORDS.has(keyword)) throw new TypeError(`schema: '${keyword}' is not understood`);
    }
    if (schema.format !== undefined && !(schema.format in this.#formats)) {
      throw new TypeError(`schema: format '${schema.format}' is not known`);
    }
    const { properties = {}, $defs = {}, items, additionalProperties, anyOf = [], oneOf = [] } = schema;
    const rest = [items, additionalProperties === false ? undefined : additionalProperties];
    for (const part of [...Object.values(properties), ...Object.values($defs), ...anyOf, ...oneOf, ...rest]) {
      if (part !== undefined) this.#admit(part);
    }
  }
}

/** One document on its way through the schema. */
class Walk {
  readonly #document: JsonDocument;
  readonly #root: JsonSchema;
  readonly #formats: Formats;
  readonly #faults: ConfigurationError[];

  constructor(document: JsonDocument, root: JsonSchema, formats: Formats, faults: ConfigurationError[]) {
    this.#document = document;
    this.#root = root;
    this.#formats = formats;
    this.#faults = faults;
  }

  check(node: Node, given: JsonSchema): void {
    const schema = this.#resolve(given);
    if (schema.anyOf !== undefined || schema.oneOf !== undefined) {
      this.#choose(node, this.#alternatives(schema));
      return;
    }
    if (!isOfType(node, schema)) {
      this.#fault(node, 'value', 'of the wrong type', describe(schema));
      return;
    }
    const { value } = node;
    if (schema.const !== undefined && value !== schema.const) {
      this.#fault(node, 'value', 'not this', String(schema.const));
    } else if (schema.enum !== undefined && !schema.enum.includes(value)) {
      this.#fault(node, 'unknown', 'none of its values', schema.enum.join(', '));
    } else if (typeof value === 'number') this.#checkNumber(node, value, schema);
    else if (typeof value === 'string') this.#checkText(node, value, schema);
    if (node.type === 'object') this.#checkObject(node, schema);
    if (node.type === 'array') this.#checkList(node, schema);
  }

  #choose(node: Node, alternatives: readonly JsonSchema[]): void {
    const ofType = alternatives.filter((one) => isOfType(node, one));
    const [only] = ofType;
    if (only === undefined) {
      const expected = alternatives.map(describe).filter((one, i, all) => all.indexOf(one) === i);
      this.#fault(node, 'value', 'of the wrong type', expected.join(' or '));
      return;
    }
    if (ofType.length === 1) {
      this.check(node, only);
      return;
    }
    const tag = propertiesOf(node).find(({ key }) => key.value === 'type');
    const meant = ofType.find(({ properties }) => properties?.type?.const === tag?.value?.value);
    const kinds = ofType.flatMap(({ properties }) => properties?.type?.const ?? []).join(', ');
    if (meant !== undefined) this.check(node, meant);
    else if (tag?.value === undefined) this.#fault(node, 'value', "'type' is missing", kinds);
    else this.#fault(tag.value, 'unknown', 'no such type', kinds);
  }

  #checkNumber(node: Node, value: number, { minimum, maximum }: JsonSchema): void {
    if ((minimum === undefined || value >= minimum) && (maximum === undefined || value <= maximum)) return;
    this.#fault(node, 'value', 'out of range', `${minimum ?? ''} to ${maximum ?? ''}`);
  }

  #checkText(node: Node, value: string, { minLength = 0, pattern, format, description }: JsonSchema): void {
    if ([...value].length < minLength) {
      this.#fault(node, 'value', 'empty', description ?? 'something in it');
    } else if (pattern !== undefined && !new RegExp(pattern, 'u').test(value)) {
      this.#fault(node, 'value', 'not of the right form', description ?? pattern);
    } else if (format !== undefined) {
      try {
        this.#formats[format]?.(value);
      } catch (error) {
        const blamed = error instanceof ConfigurationError ? error.place.expected : undefined;
        if (!(error instanceof ConfigurationError)) throw error;
        this.#fault(node, 'value', `not ${article(format.replace(/-/g, ' '))}`, blamed);
      }
    }
  }

  #checkObject(node: Node, { properties = {}, required = [], additionalProperties }: JsonSchema): void {
    const present = new Set<string>();
    for (const { key, value } of propertiesOf(node)) {
      const name = String(key.value);
      if (present.has(name)) this.#fault(key, 'conflict', 'this key is there twice');
      present.add(name);
      const known = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
      if (known === false) {
        this.#fault(key, 'unknown', 'no such key', Object.keys(properties).join(', '));
      } else if (known !== undefined && value !== undefined) this.check(value, known);
    }
    for (const name of required) {
      if (!present.has(name)) this.#fault(node, 'value', `'${name}' is missing`);
    }
  }

  #checkList(node: Node, { items, minItems = 0 }: JsonSchema): void {
    const children = node.children ?? [];
    if (children.length < minItems) this.#fault(node, 'value', 'too few', `at least ${minItems}`);
    if (items !== undefined) for (const child of children) this.check(child, items);
  }

  /** Alternatives of alternatives are alternatives. */
  #alternatives({ anyOf, oneOf }: JsonSchema): JsonSchema[] {
    return (anyOf ?? oneOf ?? []).flatMap((one) => {
      const schema = this.#resolve(one);
      return schema.anyOf === undefined && schema.oneOf === undefined ? [schema] : this.#alternatives(schema);
    });
  }

  #resolve(schema: JsonSchema): JsonSchema {
    if (schema.$ref === undefined) return schema;
    const found = this.#root.$defs?.[schema.$ref.slice(DEFS.length)];
    if (found === undefined) throw new TypeError(`schema: '${schema.$ref}' leads nowhere`);
    return this.#resolve(found);
  }

  #fault(node: Node, code: 'value' | 'unknown' | 'conflict', message: string, expected?: string): void {
    this.#faults.push(this.#document.errorAt(node, code, message, expected));
  }
}

function propertiesOf(node: Node): { readonly key: Node; readonly value: Node | undefined }[] {
  return (node.children ?? []).flatMap(({ children: [key, value] = [] }) =>
    key === undefined ? [] : [{ key, value }],
  );
}

function typesOf({ type, enum: values, const: constant }: JsonSchema): readonly string[] {
  if (type !== undefined) return typeof type === 'string' ? [type] : type;
  const meant = constant === undefined ? (values ?? []) : [constant];
  return [...new Set(meant.map((value) => typeof value))];
}

function isOfType(node: Node, schema: JsonSchema): boolean {
  const types = typesOf(schema);
  if (types.length === 0) return true;
  return types.some((type) =>
    type === 'integer' ? node.type === 'number' && Number.isInteger(node.value) : type === node.type,
  );
}

function describe(schema: JsonSchema): string {
  const { const: constant, enum: values, minimum, maximum } = schema;
  if (constant !== undefined) return `'${constant}'`;
  if (values !== undefined) return values.join(', ');
  const range = minimum !== undefined && maximum !== undefined ? ` from ${minimum} to ${maximum}` : '';
  return `${article(typesOf(schema))}${range}`;
}

function article(names: string | readonly string[]): string {
  const list = typeof names === 'string' ? [names] : names;
  return list.map((name) => `${/^[aeio]/.test(name) ? 'an' : 'a'} ${name}`).join(' or ');
}

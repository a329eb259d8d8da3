/**
 * Reads `ipset save` text into a draft of all sets. Sets that a line touches are copied first, so that an error leaves
 * the ones in use as they were. Cold.
 */
import { ConfigurationError } from '../../errors.js';
import { parseAddress, prefixMask } from '../../wire/address.js';
import type { AddressWords, Family } from '../ast.js';
import type { ElementFields, SetExtensions } from './element.js';
import { hostsOf, type Network, parseNetworks, parsePorts } from './elements-text.js';
import { HashSet, type HashSetOptions } from './hash-set.js';
import { ListSet } from './list-set.js';
import { PortSet } from './port-set.js';
import { type PacketSet, SetHandle } from './set.js';

/** Longest timeout of ipset, seconds. */
const TIMEOUT_MAX = 2_147_483;
const LIST_SIZE = 8;
const NAME_MAX = 31;

export interface SetsDraft {
  readonly handles: Map<string, SetHandle>;
  /** What is to stand behind handles. */
  readonly sets: ReadonlyMap<SetHandle, PacketSet>;
}

type HashType = HashSetOptions['type'];
const HASH_TYPES: readonly HashType[] = ['hash:ip', 'hash:net', 'hash:ip,port', 'hash:net,port'];

export function readSets(
  text: string,
  handles: ReadonlyMap<string, SetHandle>,
  nowMs: number,
  file: string | undefined,
): SetsDraft {
  const draft = new Draft(handles, nowMs);
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() !== '' && !line.startsWith('#') && line.trim() !== 'COMMIT') {
      draft.run(new Line(line, i + 1, file));
    }
  }
  return draft;
}

/** The words of a line, taken one after the other. */
class Line {
  readonly #words: readonly { readonly text: string; readonly column: number }[];
  readonly #line: number;
  readonly #file: string | undefined;
  #at = 0;

  constructor(text: string, line: number, file: string | undefined) {
    this.#words = [...text.matchAll(/"[^"]*"|\S+/g)].map((word) => ({
      text: word[0],
      column: word.index + 1,
    }));
    this.#line = line;
    this.#file = file;
  }

  get isDone(): boolean {
    return this.#at >= this.#words.length;
  }

  take(expected: string): string {
    const word = this.#words[this.#at];
    if (word === undefined) throw this.refuse('syntax', 'the line ends', expected);
    this.#at++;
    return word.text;
  }

  takeNumber(max: number): number {
    const text = this.take(`a number up to ${max}`);
    const value = /^(\d+|0x[0-9a-fA-F]+)$/.test(text) ? Number(text) : Number.NaN;
    if (!(value <= max)) throw this.refuse('value', 'not a number in range', `0 to ${max}`, -1);
    return value;
  }

  /** An error at the next word, or `back` words before it. */
  refuse(
    code: 'syntax' | 'value' | 'unknown' | 'conflict' | 'unsupported',
    message: string,
    expected?: string,
    back = 0,
  ): ConfigurationError {
    const word = this.#words[this.#at + back];
    return new ConfigurationError(code, message, {
      file: this.#file,
      line: this.#line,
      column: word?.column,
      word: word?.text,
      expected,
    });
  }
}

class Draft implements SetsDraft {
  readonly handles: Map<string, SetHandle>;
  readonly sets = new Map<SetHandle, PacketSet>();
  readonly #nowMs: number;

  constructor(handles: ReadonlyMap<string, SetHandle>, nowMs: number) {
    this.handles = new Map(handles);
    this.#nowMs = nowMs;
  }

  run(line: Line): void {
    const exist = { isSet: false };
    let command = line.take('a command');
    if (command === '-exist' || command === '-!') {
      exist.isSet = true;
      command = line.take('a command');
    }
    switch (command) {
      case 'create':
      case '-N':
        this.#create(line, exist);
        break;
      case 'add':
      case '-A':
        this.#element(line, exist, 'add');
        break;
      case 'del':
      case '-D':
        this.#element(line, exist, 'del');
        break;
      case 'flush':
        this.#touched(line).clear();
        break;
      case 'destroy':
        this.#destroy(line);
        break;
      case 'swap':
        this.#swap(line);
        break;
      case 'rename':
        this.#rename(line);
        break;
      default:
        throw line.refuse(
          'unknown',
          'unknown command',
          'create, add, del, flush, destroy, swap or rename',
          -1,
        );
    }
    if (!line.isDone) throw line.refuse('syntax', 'something follows', 'the end of the line');
  }

  #create(line: Line, exist: { isSet: boolean }): void {
    const name = line.take('a name');
    if (name.length > NAME_MAX)
      throw line.refuse('value', 'name too long', `at most ${NAME_MAX} characters`, -1);
    const type = line.take('a set type');
    const set = newSet(line, type, exist);
    if (!this.handles.has(name)) {
      const handle = new SetHandle(name, set);
      this.handles.set(name, handle);
      this.sets.set(handle, set);
    } else if (!exist.isSet) {
      throw line.refuse('conflict', `there is a set '${name}' already`);
    }
  }

  /** The handle that the next word names. */
  #handle(line: Line): SetHandle {
    const handle = this.handles.get(line.take('the name of a set'));
    if (handle === undefined) throw line.refuse('unknown', 'no such set', 'the name of a set', -1);
    return handle;
  }

  /** The draft of the set that the next word names. */
  #touched(line: Line): HashSet | PortSet | ListSet {
    return this.#draftOf(this.#handle(line));
  }

  #draftOf(handle: SetHandle): HashSet | PortSet | ListSet {
    let set = this.sets.get(handle);
    if (set === undefined) this.sets.set(handle, (set = (handle.set as HashSet | PortSet | ListSet).clone()));
    return set as HashSet | PortSet | ListSet;
  }

  #element(line: Line, exist: { isSet: boolean }, action: 'add' | 'del'): void {
    const set = this.#touched(line);
    if (set instanceof ListSet) this.#member(line, set, exist, action);
    else if (set instanceof PortSet) this.#port(line, set, exist, action);
    else this.#key(line, set, exist, action);
  }

  #key(line: Line, set: HashSet, exist: { isSet: boolean }, action: 'add' | 'del'): void {
    const text = line.take('an element');
    const { type, family } = set.options;
    const [address = '', ports, ...more] = text.split(',');
    const networks = parseNetworks(address, family);
    const range = ports === undefined ? undefined : parsePorts(ports);
    if (networks === undefined || more.length > 0 || (set.dimensions === 2) !== (range !== undefined)) {
      throw line.refuse('value', `not an element of ${type}`, elementForm(type), -1);
    }
    const addresses: readonly (Network | AddressWords)[] | undefined = set.hasExceptions
      ? networks
      : hostsOf(networks, family);
    if (addresses === undefined) throw line.refuse('value', 'too many addresses', 'at most 65536', -1);
    const fields = readFields(line, set.options, exist);
    const key = new Int32Array(6);
    for (const one of addresses) {
      const network = 'prefix' in one ? one : undefined;
      const words = network?.words ?? (one as AddressWords);
      for (let port = range?.low ?? 0; port <= (range?.high ?? 0); port++) {
        for (let i = 0; i < 4; i++) key[i] = (words[i] as number) & (set.options.mask?.[i] ?? -1);
        key[4] = network?.prefix ?? 0;
        key[5] = range === undefined ? 0 : (range.protocol << 16) | port;
        this.#put(line, set, key, fields, exist, action);
      }
    }
  }

  #put(
    line: Line,
    set: HashSet,
    key: Int32Array,
    fields: ElementFields,
    exist: { isSet: boolean },
    action: 'add' | 'del',
  ): void {
    if (action === 'del') {
      if (!set.delete(key, this.#nowMs) && !exist.isSet) throw line.refuse('unknown', 'no such element');
      return;
    }
    const said = set.insert(key, fields, exist.isSet, this.#nowMs);
    if (said === 'there') throw line.refuse('conflict', 'the element is there already');
    if (said === 'full')
      throw line.refuse('value', 'the set is full', `at most ${set.options.maxelem} elements`);
  }

  #port(line: Line, set: PortSet, exist: { isSet: boolean }, action: 'add' | 'del'): void {
    const range = parsePorts(line.take('a port'));
    if (range === undefined || !set.has(range.low) || !set.has(range.high)) {
      throw line.refuse('value', 'not a port of the set', `${set.options.first} to ${set.options.last}`, -1);
    }
    const fields = readFields(line, set.options, exist);
    for (let port = range.low; port <= range.high; port++) {
      const done =
        action === 'add' ? set.insert(port, fields, exist.isSet, this.#nowMs) : set.delete(port, this.#nowMs);
      if (!done && !exist.isSet) {
        throw line.refuse('conflict', action === 'add' ? 'the element is there already' : 'no such element');
      }
    }
  }

  #member(line: Line, set: ListSet, exist: { isSet: boolean }, action: 'add' | 'del'): void {
    const handle = this.#handle(line);
    if (this.#draftOf(handle) instanceof ListSet) {
      throw line.refuse('value', 'a list cannot be the member of a list', 'a set of another type', -1);
    }
    const before = set.indexOf(handle.name);
    const place: { at?: number } = {};
    const fields = readFields(line, set.options, exist, (word) => {
      if (word !== 'before' && word !== 'after') return false;
      const other = set.indexOf(line.take('a member of the list'));
      if (other < 0) throw line.refuse('unknown', 'no such member', 'a member of the list', -1);
      place.at = word === 'before' ? other : other + 1;
      return true;
    });
    if (action === 'del') {
      if (before >= 0) set.removeAt(before);
      else if (!exist.isSet) throw line.refuse('unknown', 'no such element');
      return;
    }
    if (before >= 0) {
      if (!exist.isSet) throw line.refuse('conflict', 'the element is there already');
      set.removeAt(before);
    }
    set.insert(handle, fields, place.at, this.#nowMs);
  }

  #destroy(line: Line): void {
    if (line.isDone) {
      for (const [name, handle] of this.handles) if (handle.users === 0) this.handles.delete(name);
      return;
    }
    const handle = this.#handle(line);
    const isMember = [...this.handles.values()].some((other) => {
      const set = this.sets.get(other) ?? other.set;
      return set instanceof ListSet && set.indexOf(handle.name) >= 0;
    });
    if (handle.users > 0 || isMember) throw line.refuse('conflict', 'the set is in use', undefined, -1);
    this.handles.delete(handle.name);
  }

  #swap(line: Line): void {
    const first = this.#handle(line);
    const second = this.#handle(line);
    const set = this.#draftOf(first);
    this.sets.set(first, this.#draftOf(second));
    this.sets.set(second, set);
  }

  #rename(line: Line): void {
    const handle = this.#handle(line);
    const to = line.take('a name');
    if (this.handles.has(to)) throw line.refuse('conflict', 'there is such a set already', undefined, -1);
    if (handle.users > 0) throw line.refuse('conflict', 'the set is in use', undefined, -2);
    for (const [name, other] of this.handles) if (other === handle) this.handles.delete(name);
    this.handles.set(to, handle);
  }
}

function elementForm(type: HashType): string {
  const address = type.startsWith('hash:net') ? 'ADDRESS/PREFIX' : 'ADDRESS';
  return type.endsWith(',port') ? `${address},[PROTOCOL:]PORT` : address;
}

/** Settings behind `create NAME TYPE`. */
class Settings {
  family: Family = 4;
  hashsize = 1024;
  maxelem = 65_536;
  timeoutSeconds: number | undefined = undefined;
  counters = false;
  comment = false;
  skbinfo = false;
  forceadd = false;
  mask: readonly number[] | undefined = undefined;
  maskText: string | undefined = undefined;
  size = LIST_SIZE;
  first = Number.NaN;
  last = Number.NaN;
}

function newSet(line: Line, type: string, exist: { isSet: boolean }): PacketSet {
  const settings = new Settings();
  const hashType = HASH_TYPES.find((known) => known === type);
  if (hashType === undefined && type !== 'bitmap:port' && type !== 'list:set') {
    throw line.refuse(
      'unsupported',
      'set type not supported',
      `${HASH_TYPES.join(', ')}, bitmap:port or list:set`,
      -1,
    );
  }
  while (!line.isDone) readSetting(line, settings, exist);
  if (hashType !== undefined) return new HashSet({ ...settings, type: hashType });
  if (type === 'list:set') return new ListSet(settings);
  if (!(settings.first <= settings.last))
    throw line.refuse('syntax', 'no range of ports', 'range FIRST-LAST');
  return new PortSet(settings);
}

function readSetting(line: Line, settings: Settings, exist: { isSet: boolean }): void {
  const word = line.take('a setting');
  switch (word) {
    case 'family': {
      const family = line.take('inet or inet6');
      if (family !== 'inet' && family !== 'inet6')
        throw line.refuse('value', 'no such family', 'inet or inet6', -1);
      settings.family = family === 'inet' ? 4 : 6;
      break;
    }
    case 'hashsize':
      settings.hashsize = line.takeNumber(0xffffffff);
      break;
    case 'maxelem':
      settings.maxelem = line.takeNumber(0xffffffff);
      break;
    case 'timeout':
      settings.timeoutSeconds = line.takeNumber(TIMEOUT_MAX);
      break;
    case 'size':
      settings.size = line.takeNumber(0xffffffff);
      break;
    case 'bucketsize':
    case 'initval':
      line.takeNumber(0xffffffff);
      break;
    case 'netmask': {
      const prefix = line.takeNumber(settings.family === 4 ? 32 : 128);
      settings.mask = prefixMask(prefix, settings.family);
      settings.maskText = `netmask ${prefix}`;
      break;
    }
    case 'bitmask': {
      const text = line.take('a mask');
      settings.mask = parseAddress(text, settings.family);
      if (settings.mask === undefined) throw line.refuse('value', 'not a mask', 'an address', -1);
      settings.maskText = `bitmask ${text}`;
      break;
    }
    case 'range': {
      const range = /^(\d{1,5})-(\d{1,5})$/.exec(line.take('FIRST-LAST'));
      if (range === null || Number(range[2]) > 65535)
        throw line.refuse('value', 'not a range', 'FIRST-LAST', -1);
      settings.first = Number(range[1]);
      settings.last = Number(range[2]);
      break;
    }
    case 'counters':
    case 'comment':
    case 'skbinfo':
    case 'forceadd':
      settings[word] = true;
      break;
    case '-exist':
    case '-!':
      exist.isSet = true;
      break;
    default:
      throw line.refuse('unknown', 'unknown setting', 'family, hashsize, maxelem, timeout, counters ...', -1);
  }
}

/** The words behind an element; `more` may take those that only some sets know. */
function readFields(
  line: Line,
  extensions: SetExtensions,
  exist: { isSet: boolean },
  more: (word: string) => boolean = () => false,
): ElementFields {
  const fields: { -readonly [K in keyof ElementFields]: ElementFields[K] } = {};
  const needs = (has: boolean, word: string): void => {
    if (!has) throw line.refuse('conflict', `the set was made without ${word}`, undefined, -1);
  };
  while (!line.isDone) {
    const word = line.take('a field');
    switch (word) {
      case 'timeout':
        needs(extensions.timeoutSeconds !== undefined, word);
        fields.timeoutSeconds = line.takeNumber(TIMEOUT_MAX);
        break;
      case 'packets':
      case 'bytes':
        needs(extensions.counters, 'counters');
        fields[word] = line.takeNumber(Number.MAX_SAFE_INTEGER);
        break;
      case 'comment':
        needs(extensions.comment, word);
        fields.comment = line.take('a comment').replace(/^"(.*)"$/, '$1');
        break;
      case 'nomatch':
        fields.nomatch = true;
        break;
      case 'skbmark':
      case 'skbprio':
      case 'skbqueue':
        needs(extensions.skbinfo, 'skbinfo');
        readSkbinfo(line, word, fields);
        break;
      case '-exist':
      case '-!':
        exist.isSet = true;
        break;
      default:
        if (!more(word))
          throw line.refuse('unknown', 'unknown field', 'timeout, packets, bytes, comment ...', -1);
    }
  }
  return fields;
}

function readSkbinfo(
  line: Line,
  word: 'skbmark' | 'skbprio' | 'skbqueue',
  fields: { -readonly [K in keyof ElementFields]: ElementFields[K] },
): void {
  if (word === 'skbqueue') {
    fields.queue = line.takeNumber(65535);
    return;
  }
  const text = line.take(word === 'skbmark' ? 'MARK[/MASK]' : 'MAJOR:MINOR');
  const numbers =
    word === 'skbmark'
      ? /^(0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+|\d+))?$/i.exec(text)
      : /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(text);
  if (numbers === null) throw line.refuse('value', `not a ${word}`, undefined, -1);
  if (word === 'skbmark') {
    fields.mark = Number(numbers[1]);
    fields.markMask = numbers[2] === undefined ? 0xffffffff : Number(numbers[2]);
  } else {
    fields.priority =
      (Number.parseInt(numbers[1] as string, 16) << 16) | Number.parseInt(numbers[2] as string, 16);
  }
}

/**
 * Reads one line inside a table (`-A FORWARD -p tcp --dport 80 -j ACCEPT`, also -I -D -R -C -N -X -E -P -F -Z) to a
 * typed command. Follows iptables: options in any order, `!` before what it negates, long options by any beginning
 * that is unambiguous, the match of a protocol brought in by the first of its options. Cold.
 *
 * A rule that names several sources or destinations becomes several rules. What only the kernel refuses is not
 * looked at here (`kernel-checks.ts`).
 */

import type { CounterSpec, Family, MatchSpec, ProtocolCondition, RuleSpec, TargetSpec } from '../ast.js';
import type { GivenOption, MatchExtension, Reading, TargetExtension } from './grammar.js';
import { protocolNumber } from './names.js';
import { wholeNumber } from './numbers.js';
import {
  type ArgumentKind,
  constrainedOptions,
  findLongOption,
  type Loaded,
  letterArgument,
} from './options.js';
import {
  findMatch,
  findTarget,
  matchNames,
  protocolMatch,
  REFUSED_MATCHES,
  REFUSED_TARGETS,
  targetNames,
} from './registry.js';
import { RuleConditions } from './rule-conditions.js';
import type { Where } from './where.js';
import type { Word } from './words.js';

export type Verb = 'append' | 'insert' | 'replace' | 'delete' | 'check';
export type Command =
  | {
      readonly verb: Verb;
      readonly chain: Where;
      readonly number: Where | undefined;
      readonly rules: readonly RuleSpec[];
    }
  | { readonly verb: 'new-chain'; readonly chain: Where }
  | { readonly verb: 'delete-chain' | 'flush'; readonly chain: Where | undefined }
  | { readonly verb: 'zero'; readonly chain: Where | undefined; readonly number: Where | undefined }
  | { readonly verb: 'rename-chain'; readonly chain: Where; readonly name: Where }
  | { readonly verb: 'policy'; readonly chain: Where; readonly policy: Where };

/** What a line is read against. */
export interface LineContext {
  readonly family: Family;
  readonly table: string;
  /** The line; its column and word are replaced by those of the words. */
  readonly where: Where;
  readonly counters: CounterSpec | undefined;
  readonly findChain: (name: string) => 'builtin' | 'user' | undefined;
}

const RULE_VERBS: Readonly<Record<string, Verb>> = {
  A: 'append',
  I: 'insert',
  R: 'replace',
  D: 'delete',
  C: 'check',
};
const VERDICTS: ReadonlySet<string> = new Set(['ACCEPT', 'DROP', 'RETURN']);
export const RESERVED_CHAINS: ReadonlySet<string> = new Set([...VERDICTS, 'QUEUE']);
export const CHAIN_NAME_MAX = 28;

interface LoadedExtension<E extends MatchExtension | TargetExtension> extends Loaded<E> {
  readonly where: Where;
  readonly given: Record<string, GivenOption<unknown>>;
}

/** undefined: the line is for the other family (`-4`, `-6`). */
export function readCommand(words: readonly Word[], context: LineContext): Command | undefined {
  return new CommandReader(words, context).read();
}

class CommandReader {
  readonly #words: readonly Word[];
  readonly #context: LineContext;
  readonly #conditions: RuleConditions;
  #next = 0;
  /** Of the option being read. */
  #option: Where;
  #negation: Where | undefined;
  #command: Command | undefined;
  #protocol: ProtocolCondition | undefined;
  #protocolMatchLoaded = false;
  #matches: LoadedExtension<MatchExtension>[] = [];
  #target: LoadedExtension<TargetExtension> | undefined;
  /** Both kinds, the one loaded last first. */
  #loaded: LoadedExtension<MatchExtension | TargetExtension>[] = [];
  #jump: { readonly name: Where; readonly how: 'jump' | 'goto' } | undefined;
  #counters: CounterSpec | undefined;
  #otherFamily = false;

  constructor(words: readonly Word[], context: LineContext) {
    this.#words = words;
    this.#context = context;
    this.#counters = context.counters;
    this.#option = context.where;
    this.#conditions = new RuleConditions(context.family);
  }

  read(): Command | undefined {
    while (this.#next < this.#words.length && !this.#otherFamily) this.#readWord();
    if (this.#otherFamily) return undefined;
    this.#negation?.refuse('syntax', 'nothing to negate', 'an option behind !');
    const command = this.#command;
    if (command === undefined)
      return this.#context.where.refuse('syntax', 'no command', '-A CHAIN and a rule');
    if (!('rules' in command)) {
      this.#conditions.first?.refuse('syntax', 'an option of rules, with a command that has none');
      return command;
    }
    this.#conditions.checkInterfaces(command.chain.word);
    const { verb, chain, number } = command;
    return { verb, chain, number, rules: this.#rules() };
  }

  #readWord(): void {
    const { text } = this.#words[this.#next]!;
    const where = this.#where(this.#next++);
    this.#option = where;
    if (text === '!') {
      if (this.#negation !== undefined) where.refuse('syntax', 'several ! in a row', 'an option behind !');
      this.#negation = where;
      return;
    }
    if (text === '--' || !text.startsWith('-') || text === '-')
      where.refuse('syntax', 'unexpected word', 'an option');
    if (text.startsWith('--')) this.#readLong(text.slice(2), where);
    else this.#readLetters(text.slice(1), where);
    this.#negation = undefined;
  }

  #readLong(text: string, where: Where): void {
    const equals = text.indexOf('=');
    const name = equals < 0 ? text : text.slice(0, equals);
    const attached = equals < 0 ? undefined : text.slice(equals + 1);
    let option = findLongOption(name, this.#context.family, this.#loaded);
    if (option === undefined && this.#loadProtocolMatch())
      option = findLongOption(name, this.#context.family, this.#loaded);
    if (option === undefined) where.refuse('unknown', 'unknown option', this.#knownOptions());
    if (option.argument === 'none' && attached !== undefined)
      where.refuse('syntax', 'the option takes no value');
    if (option.owner === 'base') {
      if (attached !== undefined && !'mAIRDCNPMg'.includes(option.letter)) {
        where.refuse('syntax', 'the value must be a word of its own', `--${name} ${attached}`);
      }
      this.#readLetter(option.letter, option.argument, where, attached);
    } else {
      this.#readExtensionOption(option.owner, option.key, option.argument, attached);
    }
  }

  #readLetters(text: string, where: Where): void {
    for (let i = 0; i < text.length; i++) {
      const letter = text[i]!;
      const argument = letterArgument(letter);
      if (argument === undefined || letter === '0')
        where.refuse('unknown', 'unknown option', this.#knownOptions());
      const rest = text.slice(i + 1);
      if (argument === 'needed') {
        if (rest !== '' && !'mAIRDCNPEgc'.includes(letter)) {
          where.refuse('syntax', 'the value must be a word of its own', `-${letter} ${rest}`);
        }
        this.#readLetter(letter, argument, where, rest === '' ? undefined : rest);
        return;
      }
      this.#readLetter(letter, argument, where, undefined);
    }
  }

  #readLetter(letter: string, argument: ArgumentKind, where: Where, attached: string | undefined): void {
    const value =
      argument === 'none'
        ? where
        : attached === undefined
          ? this.#value()
          : this.#option.at(where.column, attached);
    const { family } = this.#context;
    const negated = this.#negation !== undefined;
    switch (letter) {
      case 's':
      case 'd':
      case 'i':
      case 'o':
      case 'f':
        this.#conditions.read(letter, value, where, negated);
        return;
      case 'p':
        this.#conditions.once('p', where);
        this.#readProtocol(value, negated);
        return;
    }
    if (negated && letter !== '4' && letter !== '6')
      this.#negation!.refuse('syntax', `! cannot stand before ${where.word}`);
    switch (letter) {
      case 'A':
      case 'I':
      case 'R':
      case 'D':
      case 'C':
        this.#setCommand({
          verb: RULE_VERBS[letter]!,
          chain: value,
          number: letter === 'A' || letter === 'C' ? undefined : this.#optionalWord(),
          rules: [],
        });
        break;
      case 'N':
        this.#setCommand({ verb: 'new-chain', chain: value });
        break;
      case 'X':
      case 'F':
        this.#setCommand({ verb: letter === 'X' ? 'delete-chain' : 'flush', chain: this.#optionalWord() });
        break;
      case 'Z':
        this.#setCommand({ verb: 'zero', chain: this.#optionalWord(), number: this.#optionalWord() });
        break;
      case 'E':
        this.#setCommand({ verb: 'rename-chain', chain: value, name: this.#following('the new name') });
        break;
      case 'P':
        this.#setCommand({ verb: 'policy', chain: value, policy: this.#following('ACCEPT or DROP') });
        break;
      case 'm':
        this.#loadMatch(value);
        break;
      case 'j':
      case 'g':
        this.#conditions.once('j', where);
        this.#readJump(letter, value);
        break;
      case 'c':
        this.#readCounters(value);
        break;
      case '4':
      case '6':
        this.#otherFamily = family !== Number(letter);
        break;
      case 'v':
      case 'M':
        break; // says nothing about the rule
      case 't':
        where.refuse('syntax', 'the table is named by the * line');
        break;
      default:
        where.refuse('unsupported', 'not an option of a ruleset');
    }
  }

  #readProtocol(value: Where, negated: boolean): void {
    const number =
      protocolNumber(value.word) ?? value.refuse('value', 'unknown protocol', 'a protocol name or 0-255');
    if (number === 0) {
      if (negated) value.refuse('conflict', 'the rule would never match');
      return;
    }
    this.#protocol = { number, negated };
  }

  #readJump(letter: string, name: Where): void {
    const { family, findChain } = this.#context;
    if (name.word === '' || name.word.length > CHAIN_NAME_MAX) {
      name.refuse('value', 'not a target name', `1 to ${CHAIN_NAME_MAX} characters`);
    }
    this.#jump = { name, how: letter === 'g' ? 'goto' : 'jump' };
    if (letter === 'g') {
      if (findChain(name.word) === undefined)
        name.refuse('unknown', 'no such chain', 'a chain of this table');
      return;
    }
    const extension = findTarget(name.word, family);
    if (extension !== undefined) {
      this.#target = { extension, where: name, given: {} };
      this.#loaded.unshift(this.#target);
    } else if (!RESERVED_CHAINS.has(name.word) && findChain(name.word) === undefined) {
      if (REFUSED_TARGETS.has(name.word)) name.refuse('unsupported', 'target not supported here');
      name.refuse(
        'unknown',
        'unknown target',
        `a chain, ACCEPT, DROP, RETURN, ${targetNames(family).join(', ')}`,
      );
    }
  }

  #readCounters(packets: Where): void {
    const bytes = this.#following('packets and bytes');
    const read = (where: Where): number =>
      wholeNumber(where.word, 0, 2 ** 64) ?? where.refuse('value', 'not a counter', 'a number');
    this.#counters = { packets: read(packets), bytes: read(bytes) };
  }

  #loadMatch(name: Where): void {
    const extension = findMatch(name.word, this.#context.family);
    if (extension === undefined) {
      if (REFUSED_MATCHES.has(name.word)) name.refuse('unsupported', 'match not supported here');
      name.refuse('unknown', 'unknown match', matchNames(this.#context.family).join(', '));
    }
    this.#addMatch(extension, name);
  }

  #addMatch(extension: MatchExtension, where: Where): void {
    const loaded = { extension, where, given: {} };
    this.#matches.push(loaded);
    this.#loaded.unshift(loaded);
  }

  /** Brings in the match of `-p` once; true if it did. */
  #loadProtocolMatch(): boolean {
    if (this.#protocol === undefined || this.#protocolMatchLoaded) return false;
    const extension = protocolMatch(this.#protocol.number, this.#context.family);
    if (extension === undefined) return false;
    this.#protocolMatchLoaded = true;
    this.#addMatch(extension, this.#option);
    return true;
  }

  #readExtensionOption(
    owner: LoadedExtension<MatchExtension | TargetExtension>,
    key: string,
    argument: ArgumentKind,
    attached: string | undefined,
  ): void {
    const option = this.#option;
    const { negation, read } = owner.extension.options[key]!;
    const negated = this.#negation !== undefined;
    if (negated && negation !== 'allowed')
      this.#negation!.refuse('syntax', `! cannot stand before ${option.word}`);
    if (owner.given[key] !== undefined) option.refuse('conflict', 'the option can be given once only');
    let value: unknown = true;
    if (argument === 'needed' && read !== undefined) {
      const where = attached === undefined ? this.#value() : option;
      const reading: Reading = {
        family: this.#context.family,
        where,
        protocol: this.#protocol,
        next: (expected) => this.#following(expected).word,
      };
      value = read(attached ?? where.word, reading);
    }
    owner.given[key] = { value, negated, where: option };
  }

  #rules(): readonly RuleSpec[] {
    const matches = this.#matches.map((loaded): MatchSpec => this.#build(loaded) as MatchSpec);
    const target = this.#buildTarget();
    const { place } = this.#context.where;
    return this.#conditions.rules({
      place,
      counters: this.#counters,
      protocol: this.#protocol,
      matches,
      target,
    });
  }

  #buildTarget(): TargetSpec {
    if (this.#target !== undefined) return this.#build(this.#target) as TargetSpec;
    if (this.#jump === undefined) return { kind: 'none' };
    const { name, how } = this.#jump;
    const verdict = name.word;
    if (verdict === 'QUEUE' && how === 'jump') {
      return { kind: 'NFQUEUE', queues: { low: 0, high: 0 }, bypass: false, cpuFanout: false, verdict };
    }
    if (verdict === 'DROP' && this.#context.table === 'nat')
      name.refuse('conflict', 'nat is no table for filtering');
    if (VERDICTS.has(verdict) && how === 'jump') return { kind: verdict as 'ACCEPT' | 'DROP' | 'RETURN' };
    if (this.#context.findChain(verdict) === 'builtin') {
      name.refuse('value', 'built-in chains are not jumped to', 'a chain of your own');
    }
    return { kind: how, chain: verdict };
  }

  #build(loaded: LoadedExtension<MatchExtension | TargetExtension>): MatchSpec | TargetSpec {
    const { extension, given, where } = loaded;
    for (const [key, { presence, excludes = [], requires = [] }] of constrainedOptions(extension)) {
      const option = given[key];
      if (option === undefined) {
        if (presence === 'required')
          where.refuse('conflict', `${extension.name} needs an option`, `--${key}`);
        continue;
      }
      for (const other of excludes) {
        if (given[other] !== undefined)
          option.where.refuse('conflict', `cannot stand together with --${other}`);
      }
      for (const other of requires) {
        if (given[other] === undefined) option.where.refuse('conflict', 'needs another option', `--${other}`);
      }
    }
    const { anyOf } = extension;
    if (anyOf !== undefined && !anyOf.some((key) => given[key] !== undefined)) {
      where.refuse('conflict', `${extension.name} needs an option`, `one of --${anyOf.join(', --')}`);
    }
    const context = { family: this.#context.family, where, protocol: this.#protocol };
    return extension.build(given, context);
  }

  #setCommand(command: Command): void {
    if (this.#command !== undefined) this.#option.refuse('conflict', 'one command per line');
    this.#command = command;
  }

  #where(index: number): Where {
    const { column, text } = this.#words[index]!;
    return this.#context.where.at(column, text);
  }

  /** The word behind an option, whatever it looks like. */
  #value(): Where {
    if (this.#next >= this.#words.length) this.#option.refuse('syntax', 'the option needs a value');
    return this.#where(this.#next++);
  }

  /** A further word that is no option. */
  #following(expected: string): Where {
    return this.#optionalWord() ?? this.#option.refuse('syntax', 'the option needs another word', expected);
  }

  #optionalWord(): Where | undefined {
    const word = this.#words[this.#next];
    if (word === undefined || /^[-!]/.test(word.text)) return undefined;
    return this.#where(this.#next++);
  }

  #knownOptions(): string {
    const known = this.#loaded.flatMap(({ extension }) =>
      Object.keys(extension.options).map((key) => `--${key}`),
    );
    return known.length > 0 ? known.join(', ') : 'an option of -p, -m or -j before it';
  }
}

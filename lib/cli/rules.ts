/**
 * `conntide rules check` and `conntide rules save`: a ruleset file judged, and printed as iptables-save would.
 *
 * Exit status: 0 the rules are taken, 1 they are refused, 2 bad usage or an unreadable file.
 */
import { Command, Option } from 'commander';
import { Engine } from '../engine.js';
import { ConfigurationError } from '../errors.js';
import { StaticHost } from '../host.js';
import { readText } from '../node/files.js';
import type { Family } from '../rules/ast.js';
import { guessFamily, judgeText, type TextJudgement } from '../rules/check.js';
import { type Console, ExitStatus } from './console.js';

interface Options {
  readonly family?: '4' | '6';
  readonly sets?: string;
  readonly json?: boolean;
  readonly counters?: boolean;
}

/** The `rules` command; `finish` is told the exit status. */
export function rulesCommand(out: Console, finish: (status: ExitStatus) => void): Command {
  return new Command('rules')
    .summary('check a ruleset file, or print it as iptables-save does')
    .addCommand(
      shared('check')
        .summary('say whether the rules are taken here, or what is refused')
        .description(
          'Reads and compiles an iptables-save file. Every rule that is refused is named by file, line, column and\n' +
            'word, with what was expected.',
        )
        .option('--json', 'print one JSON object')
        .action((file: string, options: Options) => finish(check(file, options, out))),
    )
    .addCommand(
      shared('save')
        .summary('print the rules as iptables-save does')
        .description('Prints an iptables-save file in canonical form, tables as the kernel lists them.')
        .option('-c, --counters', 'with the counters of rules and policies (else policies have zero)')
        .action((file: string, options: Options) => finish(save(file, options, out))),
    );
}

function shared(name: string): Command {
  return new Command(name)
    .argument('<file>', 'iptables-save text')
    .addOption(
      new Option('--family <family>', 'IP version (default: guessed where that is safe)').choices(['4', '6']),
    )
    .option('--sets <file>', 'the sets that rules name, ipset save text');
}

/** A file's rules, as far as they are taken. */
interface Judged extends TextJudgement {
  readonly engine: Engine;
  /** Why the family was chosen, if it was not given. */
  readonly because?: string;
  /** Both families take the text, and it means something else for the other. */
  readonly isAmbiguous?: boolean;
}

function judge(file: string, { family, sets }: Options): Judged {
  const text = readText(file);
  const setsText = sets === undefined ? undefined : readText(sets);
  const makeEngine = (): Engine => {
    const engine = new Engine({ host: new StaticHost([]), maxConnections: 16, buckets: 16 });
    if (setsText !== undefined) engine.sets.restore(setsText, 0, sets);
    return engine;
  };
  let engine = makeEngine();
  const take = (rules: string, version: Family): void => {
    engine = makeEngine();
    engine.restore(version, rules, file);
  };
  const print = (version: Family): string => {
    take(text, version);
    return engine.save(version);
  };
  if (family !== undefined) return { ...judgeText(text, Number(family) as Family, take), engine };
  const guess = guessFamily(text, file, take, print);
  if (guess === undefined) {
    take(text, 4);
    return { family: 4, errors: [], engine, because: 'IPv6 takes it too', isAmbiguous: true };
  }
  const judgement = judgeText(text, guess.family, take);
  return { ...judgement, engine, because: guess.because };
}

function check(file: string, options: Options, out: Console): ExitStatus {
  const { family, errors, engine, because } = judge(file, options);
  const { tables } = engine.rules(family).toRuleset();
  const isTaken = errors.length === 0;
  const chains = tables.flatMap((table) => table.chains);
  const rules = chains.reduce((count, chain) => count + chain.rules.length, 0);
  if (options.json) {
    out.line(
      JSON.stringify({
        file,
        family,
        ...(because === undefined ? {} : { guessed: because }),
        taken: isTaken,
        ...(isTaken ? { tables: tables.length, chains: chains.length, rules } : {}),
        errors: errors.map(({ code, place, message }) => ({ ...place, code, message })),
      }),
    );
  } else if (isTaken) {
    const guessed = because === undefined ? '' : ` (${because})`;
    const counts = [count(tables.length, 'table'), count(chains.length, 'chain'), count(rules, 'rule')];
    out.line(`${file}: good, IPv${family}${guessed}: ${counts.join(', ')}`);
  } else {
    tellErrors(errors, options, out);
  }
  return isTaken ? ExitStatus.GOOD : ExitStatus.DIFFERENT;
}

function save(file: string, options: Options, out: Console): ExitStatus {
  const { family, errors, engine, isAmbiguous } = judge(file, options);
  if (isAmbiguous) {
    throw new ConfigurationError('value', 'the rules may be of IPv4 or of IPv6, and print differently', {
      file,
      expected: '--family 4 or --family 6',
    });
  }
  if (errors.length > 0) {
    tellErrors(errors, options, out);
    return ExitStatus.DIFFERENT;
  }
  const text = engine.save(family, options.counters ? 'with' : 'without');
  // iptables-restore takes counters only where it is told to, policies' too.
  const printed = options.counters ? text : text.replace(/^(:\S+ \S+) \[\d+:\d+\]$/gm, '$1 [0:0]');
  for (const line of printed.trimEnd().split('\n')) if (line !== '') out.line(line);
  return ExitStatus.GOOD;
}

function tellErrors(errors: readonly ConfigurationError[], { sets }: Options, out: Console): void {
  for (const { message } of errors) out.error(message);
  if (sets === undefined && errors.some(({ message }) => /no (such )?set\b/.test(message))) {
    out.error('Sets that rules name are given with --sets FILE, ipset save text.');
  }
}

function count(n: number, one: string): string {
  return `${n} ${n === 1 ? one : `${one}s`}`;
}

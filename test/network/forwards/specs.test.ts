/** Rules of forwards as objects are what their text is read as. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Contribution } from '../../../lib/network/managed-chains.js';
import type { RuleSpec } from '../../../lib/rules/ast.js';
import { restoreRuleset } from '../../../lib/rules/restore.js';
import { Lab } from './lab.js';

const part = fc.integer({ min: 1, max: 200 });
/** Specs of one protocol that do not want the same packets: each has a thousand ports of its own. */
const specs = fc.array(
  fc.record({
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
    listen: fc.constantFrom(
      '',
      '203.0.113.1/',
      '%wan/',
      '203.0.113.1%wan/',
      '0.0.0.0/',
      '[::]/',
      '[2001:db8:1::1]%wan/',
    ),
    first: part,
    length: fc.nat(20),
    shift: fc.constantFrom(0, 0, 7, -3),
    hairpin: fc.constantFrom('on' as const, 'off' as const),
  }),
  { minLength: 1, maxLength: 8 },
);

it('whatever is forwarded', () => {
  fc.assert(
    fc.property(specs, (described) => {
      const lab = new Lab();
      const seen: Contribution[] = [];
      const set = lab.chains.set.bind(lab.chains);
      lab.chains.set = (who, contribution) => {
        if (contribution !== undefined) seen.push(contribution);
        set(who, contribution);
      };
      lab.forwards({ to: ['10.0.0.2', 'fd00:a::2'] }).apply(
        described.map(({ protocol, listen, first, length, shift, hairpin }, i) => {
          const from = 1000 * (i + 1) + first;
          const last = from + length;
          const ports =
            length === 0 ? `${from}:${from + shift}` : `${from}-${last}:${from + shift}-${last + shift}`;
          return { protocol, spec: `${listen}${ports}`, hairpin };
        }),
      );
      const chains = seen.flatMap((one) => one.chains).filter((chain) => chain.specs !== undefined);
      expect(chains.length).toBeGreaterThan(1);
      for (const { family, table, name, rules, specs } of chains) {
        const text = [
          `*${table}`,
          `:${name} - [0:0]`,
          ...rules.map((rule) => `-A ${name} ${rule}`),
          'COMMIT',
          '',
        ];
        const read = restoreRuleset(text.join('\n'), { family });
        const chain = read.tables[0]?.chains.find((one) => one.name === name);
        expect(specs).toEqual(chain?.rules.map(({ place: _, ...rule }: RuleSpec) => rule));
      }
    }),
    { numRuns: 120 },
  );
});

import { describe, expect, test } from 'vitest';
import { ConfigurationError, type ErrorPlace } from '../../lib/errors.js';

describe('a configuration error', () => {
  const cases: [ErrorPlace, string][] = [
    [{}, 'no such match'],
    [{ line: 3 }, '3: no such match'],
    [{ file: 'rules.v4', line: 3, column: 21 }, 'rules.v4:3:21: no such match'],
    [{ file: 'rules.v4', word: 'contrak' }, "rules.v4: no such match ('contrak')"],
    [{ file: 'in.pcap', offsetBytes: 24 }, 'in.pcap: no such match at byte 24'],
    [
      { file: 'rules.v4', line: 3, column: 21, word: 'contrak', expected: 'a match, e.g. conntrack' },
      "rules.v4:3:21: no such match ('contrak'); expected a match, e.g. conntrack",
    ],
  ];
  test.each(cases)('%j reads well', (place, message) => {
    const error = new ConfigurationError('unknown', 'no such match', place);
    expect(error.message).toBe(message);
    expect(error.place).toBe(place);
    expect(error.code).toBe('unknown');
    expect(error.name).toBe('ConfigurationError');
  });

  test('is an Error with a cause', () => {
    const cause = new Error('ENOENT');
    const error = new ConfigurationError('io', 'cannot read', {}, { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error.cause).toBe(cause);
  });
});

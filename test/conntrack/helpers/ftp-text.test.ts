import { describe, expect, test } from 'vitest';
import {
  Form,
  PARTIAL,
  readAnnouncement,
  writeAnnouncement,
} from '../../../lib/conntrack/helpers/ftp-text.js';
import { words } from '../../nat/gateway.js';

function read(
  text: string,
  by: 'client' | 'server' = /^\d/.test(text) ? 'server' : 'client',
  version: 4 | 6 = 4,
) {
  return readAnnouncement(
    Uint8Array.from(text, (char) => char.charCodeAt(0)),
    by,
    version,
  );
}

/** What NAT would write anew. */
function span(text: string, version: 4 | 6 = 4): string {
  const found = read(text, undefined, version);
  if (found === undefined || found === PARTIAL) return String(found);
  return text.slice(found.offset, found.offset + found.lengthBytes);
}

describe('an announcement is read from', () => {
  test.each([
    ['PORT 10,0,0,2,19,136\r\n', '10,0,0,2,19,136', 5000],
    ['port 10,0,0,2,19,136\r\n', '10,0,0,2,19,136', 5000],
    ['PORTER 10,0,0,2,0,21\r\n', '10,0,0,2,0,21', 21],
    ['EPRT |1|10.0.0.2|5000|\r\n', '|1|10.0.0.2|5000|', 5000],
    ['EPRT !1!10.0.0.2!5000!\r\n', '!1!10.0.0.2!5000!', 5000],
    ['227 Entering Passive Mode (10,0,0,2,19,136).\r\n', '10,0,0,2,19,136', 5000],
    ['227 =10,0,0,2,19,136 \r\n', '10,0,0,2,19,136', 5000],
    ['229 Entering Extended Passive Mode (|||5000|)\r\n', '|||5000|', 5000],
    ['229 ($$$5000$)\r\n', '$$$5000$', 5000],
  ])('%j: %j', (text, numbers, port) => {
    expect(span(text)).toBe(numbers);
    expect(read(text)).toMatchObject({ port });
  });

  test('an IPv6 address in any form', () => {
    for (const address of ['fd00:a::2', 'FD00:A:0:0::2', 'fd00:000a:0000:0000:0000:0000:0000:0002']) {
      expect(read(`EPRT |2|${address}|5000|\r\n`, 'client', 6)).toMatchObject({
        form: Form.EPRT,
        words: [...words('fd00:a::2')],
        port: 5000,
      });
    }
  });
});

describe('text that begins like an announcement and does not go on is partial', () => {
  test.each([
    'P',
    'PORT',
    'PORT ',
    'PORT 10,0,0,2,19,13',
    'PORT 10,0,0,2,19,136',
    'PORT 10,0,0,2,19,136\n',
    'PORT 10,0,0,2,19,136,1\r\n',
    'PORT 10,0,0,x,19,136\r\n',
    'EP',
    'EPRT |2|fd00::1|5000|\r\n',
    'EPRT |1|10.0.0.2|0|\r\n',
    'EPRT |1|10.0.0|5000|\r\n',
    'EPRT 1|10.0.0.2|5000|\r\n',
    '22',
    '227 none\r\n',
    '229 none\r\n',
    '229 (||5000|)\r\n',
    '229 (|||5x|)\r\n',
    '229 (|||65536|)\r\n',
  ])('%j', (text) => {
    expect(read(text)).toBe(PARTIAL);
  });
});

test.each([
  ['NOOP\r\n', 'client'],
  [' PORT 10,0,0,2,19,136\r\n', 'client'],
  ['227 (10,0,0,2,19,136)\r\n', 'client'],
  ['PORT 10,0,0,2,19,136\r\n', 'server'],
  ['200 ok\r\n', 'server'],
] as const)('%j of the %s announces nothing', (text, by) => {
  expect(read(text, by)).toBeUndefined();
});

test('what is written is read again as it was meant', () => {
  for (const form of [Form.PORT, Form.EPRT, Form.PASSIVE, Form.EXTENDED_PASSIVE]) {
    const before = ['PORT ', 'EPRT ', '227 (', '229 ('][form] as string;
    const after = ['\r\n', '\r\n', ')', ')'][form] as string;
    for (const port of [1, 255, 256, 65535]) {
      const text = before + writeAnnouncement(form, words('203.0.113.1'), port, 4) + after;
      expect(read(text)).toMatchObject({ form, port });
      if (form !== Form.EXTENDED_PASSIVE)
        expect(read(text)).toMatchObject({ words: [words('203.0.113.1')[0]] });
    }
  }
});

test('an IPv6 address is written in full', () => {
  expect(writeAnnouncement(Form.EPRT, words('2001:db8::1'), 5000, 6)).toBe(
    '|2|2001:0db8:0000:0000:0000:0000:0000:0001|5000|',
  );
});

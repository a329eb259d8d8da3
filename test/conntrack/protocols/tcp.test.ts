import { describe, it } from 'vitest';
import { type Ends, Talk } from './talk.js';

const ENDS: Ends = { protocol: 'tcp', opener: '10.0.0.2:40000', peer: '198.51.100.7:80' };

const HANDSHAKE = `
  > SYN seq 999 win 8000 | NEW SYN_SENT 120 1/0
  < SYN,ACK seq 4999 ack 1000 win 8000 | ESTABLISHED SYN_RECV 60 1/1
  > ACK seq 1000 ack 5000 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
`;

/** A conversation behind its handshake. */
function established(settings = {}): Talk {
  const talk = new Talk(ENDS, settings);
  talk.say(HANDSHAKE);
  return talk;
}

describe('TCP: opening', () => {
  it('is ASSURED once the handshake is complete', () => {
    established();
  });

  it('a repeated SYN is let through and does not refresh', () => {
    new Talk(ENDS).say(`
      > SYN seq 999 | NEW SYN_SENT 120 1/0
      +30000
      > SYN seq 999 | NEW SYN_SENT 90 1/0
    `);
  });

  it('a SYN 2^31 from the first one begins the window anew', () => {
    const talk = new Talk(ENDS);
    talk.say(`
      > SYN seq 2147811708 win 1000 | NEW SYN_SENT 120 1/0
      > SYN seq 328060 win 1000 | NEW SYN_SENT 120 1/0
      < SYN,ACK seq 1 ack 328061 win 1000 | ESTABLISHED SYN_RECV 60 1/1
    `);
  });

  it('a refused SYN leaves nothing behind', () => {
    new Talk(ENDS).say(`
      > SYN seq 999 | NEW SYN_SENT 120 1/0
      < RST,ACK seq 0 ack 1000 win 0 | ESTABLISHED none
    `);
  });

  it('an ACK in SYN_SENT is let through: the server challenges, the client resets, the entry closes', () => {
    new Talk(ENDS).say(`
      > SYN seq 999 | NEW SYN_SENT 120 1/0
      < ACK seq 7000 ack 500 | ESTABLISHED SYN_SENT 120 1/0
      > RST seq 500 win 0 | ESTABLISHED CLOSE 10 2/0
      > SYN seq 999 | NEW SYN_SENT 120 1/0
    `);
  });

  it('both ends may open at once; the second SYN counts like a repeated one', () => {
    new Talk(ENDS).say(`
      > SYN seq 999 | NEW SYN_SENT 120 1/0
      < SYN seq 4999 | ESTABLISHED SYN_SENT2 120 1/0
      > SYN,ACK seq 999 ack 5000 | ESTABLISHED SYN_RECV 60 2/0
      < SYN,ACK seq 4999 ack 1000 | ESTABLISHED SYN_RECV 60 2/0
      < ACK seq 5000 ack 1000 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
    `);
  });

  it('SYN_SENT2 keeps its two minutes when SYN_SENT is set to something else', () => {
    const talk = new Talk(ENDS);
    talk.tracker.context.timeouts.set('nf_conntrack_tcp_timeout_syn_sent', 5);
    talk.say(`
      > SYN seq 999 | NEW SYN_SENT 5 1/0
      > SYN,ACK seq 999 ack 5000 | INVALID SYN_SENT 5 1/0
      < ACK seq 7000 ack 500 | ESTABLISHED SYN_SENT 5 1/0
      < SYN seq 4999 | ESTABLISHED SYN_SENT2 120 1/1
    `);
  });

  it('a connection older than the tracker is picked up, briefly until it is answered', () => {
    new Talk(ENDS).say(`
      > ACK seq 1000 ack 5000 len 10 | NEW ESTABLISHED 300 1/0
      < ACK seq 5000 ack 1010 | ESTABLISHED ESTABLISHED 300 1/1
      > ACK seq 1010 ack 5000 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
    `);
  });

  it('unless nf_conntrack_tcp_loose is off', () => {
    new Talk(ENDS, { tcpLoose: 0 }).say('> ACK seq 1000 ack 5000 len 10 | INVALID none');
  });

  it('nothing begins with a SYN/ACK, a RST or a FIN', () => {
    new Talk(ENDS).say(`
      > SYN,ACK seq 999 ack 5000 | INVALID none
      > RST seq 999 | INVALID none
      > FIN,ACK seq 999 ack 5000 | INVALID none
    `);
  });

  it.each(['NONE', 'SYN,FIN', 'SYN,RST', 'FIN', 'FIN,RST', 'SYN,FIN,ACK', 'URG', 'PSH', 'RST,URG'])(
    'no TCP sends %s',
    (flags) => {
      established().say(`> ${flags} seq 1000 ack 5000 | INVALID ESTABLISHED 432000 ASSURED 2/1`);
    },
  );

  it('a bad checksum or a header that is cut short is INVALID', () => {
    const talk = established();
    talk.say(`
      > ACK seq 1000 ack 5000 sum 1 | INVALID ESTABLISHED 432000 ASSURED 2/1
      > ACK seq 1000 ack 5000 cut 39 iplen 39 | INVALID ESTABLISHED 432000 ASSURED 2/1
    `);
    talk.tracker.context.settings.checksum = 0;
    talk.say('> ACK seq 1000 ack 5000 sum 1 | ESTABLISHED ESTABLISHED 432000 ASSURED 3/1');
  });
});

describe('TCP: windows', () => {
  it('data beyond the window by less than a window passes uncounted, further out it is INVALID', () => {
    established().say(`
      > ACK seq 9001 ack 5000 len 100 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
      > ACK seq 90000 ack 5000 len 100 | INVALID ESTABLISHED 432000 ASSURED 2/1
    `);
  });

  it('an acknowledgement of what was never sent is INVALID', () => {
    established().say('> ACK seq 1000 ack 5001 | INVALID ESTABLISHED 432000 ASSURED 2/1');
  });

  it('old data and very late acknowledgements pass uncounted', () => {
    established().say(`
      > ACK seq 4294959296 ack 5000 len 1 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
      > ACK seq 1000 ack 4294906295 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
      > ACK seq 1000 ack 4294906297 | ESTABLISHED ESTABLISHED 432000 ASSURED 3/1
    `);
  });

  it('unacknowledged data shortens the timeout until it is acknowledged', () => {
    established().say(`
      > ACK seq 1000 ack 5000 len 10 win 8000 | ESTABLISHED ESTABLISHED 300 ASSURED 3/1
      < ACK seq 5000 ack 1010 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 3/2
    `);
  });

  it('so does a closed window', () => {
    established().say(`
      < ACK seq 5000 ack 1000 win 0 | ESTABLISHED ESTABLISHED 300 ASSURED 2/2
      > ACK seq 1000 ack 5000 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 3/2
    `);
  });

  it('and the third repetition of an ACK', () => {
    established().say(`
      > ACK seq 1000 ack 5000 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 3/1
      > ACK seq 1000 ack 5000 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 4/1
      > ACK seq 1000 ack 5000 win 8000 | ESTABLISHED ESTABLISHED 300 ASSURED 5/1
    `);
  });

  it('windows are scaled if both ends offer it', () => {
    new Talk(ENDS).say(`
      > SYN seq 999 win 1000 <mss 1460,wscale 7> | NEW SYN_SENT 120 1/0
      < SYN,ACK seq 4999 ack 1000 win 1000 <mss 1460,wscale 2> | ESTABLISHED SYN_RECV 60 1/1
      > ACK seq 1000 ack 5000 win 1000 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
      < ACK seq 60000 ack 1000 len 100 win 1000 | ESTABLISHED ESTABLISHED 300 ASSURED 2/2
    `);
  });

  it('and not if one does not', () => {
    new Talk(ENDS).say(`
      > SYN seq 999 win 1000 <mss 1460,wscale 7> | NEW SYN_SENT 120 1/0
      < SYN,ACK seq 4999 ack 1000 win 1000 <mss 1460> | ESTABLISHED SYN_RECV 60 1/1
      > ACK seq 1000 ack 5000 win 1000 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
      < ACK seq 60000 ack 1000 len 100 win 1000 | INVALID ESTABLISHED 432000 ASSURED 2/1
    `);
  });

  it('be_liberal lets everything count', () => {
    established({ tcpBeLiberal: 1 }).say(
      '> ACK seq 90000 ack 5000 len 100 | ESTABLISHED ESTABLISHED 432000 ASSURED 3/1',
    );
  });
});

describe('TCP: closing', () => {
  it('by FINs of both sides, then a new connection may take the ports', () => {
    established().say(`
      > FIN,ACK seq 1000 ack 5000 win 8000 | ESTABLISHED FIN_WAIT 120 ASSURED 3/1
      < ACK seq 5000 ack 1001 win 8000 | ESTABLISHED CLOSE_WAIT 60 ASSURED 3/2
      < FIN,ACK seq 5000 ack 1001 win 8000 | ESTABLISHED LAST_ACK 30 ASSURED 3/3
      > ACK seq 1001 ack 5001 win 8000 | ESTABLISHED TIME_WAIT 120 ASSURED 4/3
      > SYN seq 70000 | NEW SYN_SENT 120 1/0
    `);
  });

  it('a SYN in LAST_ACK may be challenged: the answer does not acknowledge the FIN', () => {
    established().say(`
      > FIN,ACK seq 1000 ack 5000 win 8000 | ESTABLISHED FIN_WAIT 120 ASSURED 3/1
      < FIN,ACK seq 5000 ack 1001 win 8000 | ESTABLISHED LAST_ACK 30 ASSURED 3/2
      > SYN seq 70000 | ESTABLISHED LAST_ACK 30 ASSURED 3/2
      < ACK seq 5001 ack 1001 win 8000 | ESTABLISHED LAST_ACK 30 ASSURED 3/2
      < ACK seq 5001 ack 1001 win 8000 | ESTABLISHED TIME_WAIT 120 ASSURED 3/3
    `);
  });

  it('FINs out of window from both sides shorten the life of the entry', () => {
    established().say(`
      > FIN,ACK seq 91000000 ack 5000 | INVALID ESTABLISHED 432000 ASSURED 2/1
      < FIN,ACK seq 95000000 ack 1000 | INVALID ESTABLISHED 300 ASSURED 2/1
    `);
  });
});

describe('TCP: resets (RFC 5961)', () => {
  it('the exact sequence number closes', () => {
    established().say('< RST seq 5000 win 0 | ESTABLISHED CLOSE 10 ASSURED 2/2');
  });

  it('one inside the window leaves the state and only ten seconds', () => {
    established().say(`
      < RST seq 5010 win 0 | ESTABLISHED ESTABLISHED 10 ASSURED 2/2
      > ACK seq 1000 ack 5010 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 3/2
    `);
  });

  it('one below what was acknowledged is INVALID, unless ignore_invalid_rst', () => {
    established().say('< RST seq 4999 win 0 | INVALID ESTABLISHED 432000 ASSURED 2/1');
    established({ tcpIgnoreInvalidRst: 1 }).say(
      '< RST seq 4999 win 0 | ESTABLISHED ESTABLISHED 10 ASSURED 2/2',
    );
  });

  it('one that follows the last segment of its own sender is exact as well', () => {
    established().say(`
      < ACK,PSH seq 5000 ack 1000 len 10 win 8000 | ESTABLISHED ESTABLISHED 300 ASSURED 2/2
      < RST seq 5010 win 0 | ESTABLISHED CLOSE 10 ASSURED 2/3
    `);
  });

  it('while closing, every RST is believed', () => {
    established().say(`
      > FIN,ACK seq 1000 ack 5000 win 8000 | ESTABLISHED FIN_WAIT 120 ASSURED 3/1
      < RST seq 123456789 win 0 | ESTABLISHED CLOSE 10 ASSURED 3/2
    `);
  });
});

describe('TCP: a SYN on a live connection', () => {
  it('passes, and its SYN/ACK begins the connection anew in the same entry', () => {
    established().say(`
      > SYN seq 69999 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
      < SYN,ACK seq 89999 ack 70000 win 8000 | ESTABLISHED SYN_RECV 60 ASSURED 2/2
      > ACK seq 70000 ack 90000 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 3/2
    `);
  });

  it('a SYN/ACK of another SYN passes without effect', () => {
    established().say(`
      > SYN seq 69999 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
      < SYN,ACK seq 89999 ack 70001 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
    `);
  });

  it('a RST that answers it closes whatever its sequence number; one of its own sender does not', () => {
    established().say(`
      > SYN seq 69999 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
      > RST,ACK seq 99999999 ack 70000 win 0 | INVALID ESTABLISHED 432000 ASSURED 2/1
    `);
    established().say(`
      > SYN seq 69999 win 8000 | ESTABLISHED ESTABLISHED 432000 ASSURED 2/1
      < RST,ACK seq 0 ack 70000 win 0 | ESTABLISHED CLOSE 10 ASSURED 2/2
    `);
  });

  it('on a reset one it is a new connection only if its own sender reset it', () => {
    established().say(`
      < RST seq 5000 win 0 | ESTABLISHED CLOSE 10 ASSURED 2/2
      > SYN seq 69999 | ESTABLISHED CLOSE 10 ASSURED 2/2
      < SYN,ACK seq 89999 ack 70000 | ESTABLISHED SYN_RECV 60 ASSURED 2/3
    `);
    established().say(`
      > RST seq 1000 win 0 | ESTABLISHED CLOSE 10 ASSURED 3/1
      > SYN seq 69999 | NEW SYN_SENT 120 1/0
    `);
  });

  it('servers send none', () => {
    established().say('< SYN seq 69999 | INVALID ESTABLISHED 432000 ASSURED 2/1');
  });
});

/** R1 to R3: a connection that ends by FIN and RST at once, and one that only the tracker remembers. */
import { describe, it } from 'vitest';
import { Flow, Network, NO_NAT, SNAT } from './flow.js';

const HANDSHAKE = `
  > SYN seq 999 | NEW#1 SYN_SENT :40000
  < SYN,ACK seq 4999 ack 1000 | #1 SYN_RECV
  > ACK seq 1000 ack 5000 | #1 ESTABLISHED
`;
const DATA = `
  > PSH,ACK seq 1000 ack 5000 data 01020304 | #1 ESTABLISHED
  < ACK seq 5000 ack 1004 | #1 ESTABLISHED
  < FIN,ACK seq 5000 ack 1004 | #1 FIN_WAIT
`;

describe.each([
  ['without NAT', NO_NAT],
  ['with SNAT, all incarnations by the same port', SNAT],
])('%s', (_, rules) => {
  it('R1: after FIN and RST each SYN begins a new connection, and no packet is lost', () => {
    const flow = new Flow(new Network(rules));
    flow.say(`
      ${HANDSHAKE}
      ${DATA}
      > ACK seq 1004 ack 5001 | #1 CLOSE_WAIT
      > RST,ACK seq 1004 ack 5001 | #1 CLOSE
      +1248
      > SYN seq 77000 | NEW#2 SYN_SENT :40000
      < ACK seq 5001 ack 1004 | #2 SYN_SENT
      > RST seq 1004 | #2 CLOSE
      > SYN seq 77000 | NEW#3 SYN_SENT :40000
      < SYN,ACK seq 90000 ack 77001 | #3 SYN_RECV
      > ACK seq 77001 ack 90001 | #3 ESTABLISHED
    `);
  });

  it('R2: with the RST before the ACK it ends CLOSE, and the next SYN is new at once', () => {
    const flow = new Flow(new Network(rules));
    flow.say(`
      ${HANDSHAKE}
      ${DATA}
      > RST,ACK seq 1004 ack 5001 | #1 CLOSE
      > ACK seq 1004 ack 5001 | #1 CLOSE
      > SYN seq 77000 | NEW#2 SYN_SENT :40000
      < SYN,ACK seq 90000 ack 77001 | #2 SYN_RECV
      > ACK seq 77001 ack 90001 | #2 ESTABLISHED
    `);
  });

  it('R3: a SYN on a connection that one end has forgotten: challenge, reset, and a new one', () => {
    const flow = new Flow(new Network(rules));
    flow.say(`
      ${HANDSHAKE}
      +60000
      > SYN seq 77000 | #1 ESTABLISHED :40000
      < ACK seq 5000 ack 1000 | #1 ESTABLISHED
      > RST seq 1000 | #1 CLOSE
      +1000
      > SYN seq 77000 | NEW#2 SYN_SENT :40000
      < SYN,ACK seq 90000 ack 77001 | #2 SYN_RECV
      > ACK seq 77001 ack 90001 | #2 ESTABLISHED
    `);
  });

  it('R3: a SYN/ACK that answers the SYN resynchronises the entry', () => {
    const flow = new Flow(new Network(rules));
    flow.say(`
      ${HANDSHAKE}
      +60000
      > SYN seq 77000 | #1 ESTABLISHED :40000
      < SYN,ACK seq 90000 ack 77001 | #1 SYN_RECV
      > ACK seq 77001 ack 90001 | #1 ESTABLISHED
      > PSH,ACK seq 77001 ack 90001 data 01 | #1 ESTABLISHED
    `);
  });
});

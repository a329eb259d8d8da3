/**
 * TFTP (RFC 1350): the server answers a request from a port of its own choice, to the port that the request came from.
 */
import { Verdict } from '../../wire/verdict.js';
import { Direction } from '../entries.js';
import type { Helper } from './helper.js';

const READ_REQUEST = 1;
const WRITE_REQUEST = 2;

export const tftp: Helper<undefined> = {
  name: 'tftp',
  protocol: 'udp',
  onPacket(call) {
    const { packet, payloadOffset } = call;
    if (payloadOffset + 2 > packet.end) return Verdict.ACCEPT;
    const opcode = packet.u16(payloadOffset);
    if (opcode !== READ_REQUEST && opcode !== WRITE_REQUEST) return Verdict.ACCEPT;
    // The client is who began the connection, whoever sent this packet.
    const isClient = call.direction === Direction.ORIGINAL;
    const port = call.expect({
      to: isClient ? 'sender' : 'receiver',
      port: isClient ? call.senderPort : call.receiverPort,
      shownPort: isClient ? call.shownSenderPort : call.shownReceiverPort,
    });
    return port === undefined ? Verdict.DROP : Verdict.ACCEPT;
  },
};

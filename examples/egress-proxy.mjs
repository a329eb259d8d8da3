// @ts-check
/**
 * An egress proxy: every TCP connection of the guests ends here, whatever address they asked, and goes on to where they
 * wanted from an ordinary socket of this process. Where that is, `originalDst` tells.
 *
 *   npm install conntide && node egress-proxy.mjs /tmp/guest.sock
 *                                       (in a clone: npm run build && node examples/egress-proxy.mjs /tmp/guest.sock)
 *   qemu-system-x86_64 ... -device virtio-net,netdev=n \
 *     -netdev stream,id=n,server=off,addr.type=unix,addr.path=/tmp/guest.sock
 *
 * The guest gets its address by DHCP, and answers to its DNS questions from this machine's servers. No root needed.
 */
import net from 'node:net';
import { Duplex } from 'node:stream';
import { createGateway } from 'conntide';
import { askDnsServers, listenForQemu } from 'conntide/node';

const path = process.argv[2] ?? '/tmp/guest.sock';
const gateway = createGateway({
  interfaces: [{ name: 'lan', link: 'ethernet', addresses: ['10.0.0.1/24'], dhcp: {} }],
  rules: { 4: '*nat\n-A PREROUTING -i lan ! -d 10.0.0.1 -p tcp -j REDIRECT --to-ports 3128\nCOMMIT\n' },
  dns: { answer: askDnsServers() },
});
gateway.tcp.listen({
  port: 3128,
  onConnection: (connection) => {
    const { address, port } = connection.originalDst;
    console.log(`${connection.source.address} -> ${address}:${port}`);
    const upstream = net.connect(port, address);
    const { readable, writable } = Duplex.toWeb(upstream);
    connection.readable.pipeTo(writable).catch(() => connection.abort());
    readable.pipeTo(connection.writable).catch(() => connection.abort());
  },
});
const link = await listenForQemu(gateway.interface('lan'), {
  path,
  onPeer: (state) => console.log(`guest ${state}`),
});
console.log(`waiting for a guest at ${path}`);

process.once('SIGINT', async () => {
  gateway.close();
  await link.close();
});

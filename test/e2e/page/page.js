/**
 * A network in a page: an emulated machine, and the gateway that it gets its addresses from. All that leaves the page
 * are the IP packets of the gateway's other side, over a WebSocket.
 */
import { attachV86, createGateway } from 'conntide';
import { V86 } from 'v86';

const MASQUERADE = `*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
`;
const MEMORY_BYTES = 256 * 2 ** 20;

/** What the guest printed so far. */
let printed = '';

/** Connects the uplink and boots the guest, whose kernel gets `variables`. */
async function start(variables) {
  const gateway = createGateway({
    interfaces: [
      {
        name: 'lan',
        link: 'ethernet',
        addresses: ['10.0.0.1/24', 'fd00::1/64'],
        dhcp: {},
        advertise: {},
      },
      { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8::1/64'] },
    ],
    rules: { 4: MASQUERADE, 6: MASQUERADE },
  });
  await connect(gateway.interface('wan'));
  const emulator = new V86({
    wasm_path: '/node_modules/v86/build/v86.wasm',
    memory_size: MEMORY_BYTES,
    bios: { url: '/seabios/bios.bin' },
    vga_bios: { url: '/seabios/vgabios-stdvga.bin' },
    bzimage: { url: '/guest/vmlinuz' },
    initrd: { url: '/guest/initrd' },
    cmdline: `console=ttyS0 evm=off ima=off apparmor=0 quiet panic=-1 ${variables}`,
    net_device: { type: 'virtio' },
    disable_speaker: true,
    autostart: true,
  });
  emulator.add_listener('serial0-output-byte', (byte) => {
    printed += String.fromCharCode(byte);
  });
  attachV86(gateway.interface('lan'), emulator);
  globalThis.lab = {
    printed: () => printed,
    connections: () =>
      gateway.engine.connections.list().map(({ family, original }) => ({ family, ...original })),
  };
}

/** Plugs an interface into a WebSocket: a message is a packet. */
function connect(port) {
  const socket = new WebSocket(`ws://${location.host}/uplink`);
  socket.binaryType = 'arraybuffer';
  port.onTransmit = (packet) => socket.send(packet);
  socket.onmessage = ({ data }) => port.receive(new Uint8Array(data));
  return new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error('there is no uplink'));
  });
}

globalThis.start = start;

import { clientsSuite } from './clients.js';

clientsSuite('virtio');

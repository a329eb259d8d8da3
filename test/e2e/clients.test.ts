import { clientsSuite } from './clients.js';

clientsSuite('none');

import { agreementSuite } from './suite.js';

agreementSuite(1);

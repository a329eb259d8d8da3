/**
 * The door for Node: what needs files. Re-exports only.
 */
export { fileError, readBytes, readText, writeBytes } from './files.js';
export { findTraceFiles, readTraceFile, type TraceText } from './trace-files.js';

#!/usr/bin/env node
/**
 * The `conntide` command.
 */
import { ProcessConsole } from './console.js';
import { runProgram } from './program.js';

const out = new ProcessConsole();
process.exitCode = await runProgram(process.argv.slice(2), out);
out.flush();

/**
 * An explained packet as text.
 */
import { formatConnection } from '../conntrack/dump.js';
import type { Explanation, RuleStep, Stage, Step } from '../scenario/explanation.js';

/** The explanation as lines: what came in, each stage, how it ended, then the router's answers. */
export function formatExplanation(explanation: Explanation): string[] {
  const { packet, stages, answers, connection } = explanation;
  const lines = [`${explanation.in} < ${packet}`, ...stages.flatMap(stageLines), ...endLines(explanation)];
  if (connection !== undefined) lines.push(`Connection: ${formatConnection(connection)}`);
  for (const answer of answers) {
    const [first, ...rest] = formatExplanation(answer);
    lines.push('', `The router answers: ${(first as string).replace('local < ', '')}`, ...rest);
  }
  return lines;
}

function stageLines(stage: Stage): string[] {
  if (stage.stage === 'route') return ['route', `  ${stage.text}`];
  if (stage.steps.length === 0) return [stage.hook, '  nothing to ask'];
  return [stage.hook, ...stage.steps.flatMap(stepLines)];
}

function stepLines(step: Step): string[] {
  if (step.step !== 'table') return [`  ${step.step}: ${step.text}`];
  return [`  table ${step.table}: ${step.verdict}`, ...step.rules.flatMap(ruleLines)];
}

function ruleLines({ chain, number, text, matched, reason, outcome, effects = [] }: RuleStep): string[] {
  const name = number === 'return' ? `${chain} ends` : `${chain} ${number}`;
  const said = matched ? `yes: ${[outcome, ...effects].join('; ')}` : `no: ${reason}`;
  const gap = typeof number === 'number' ? '  ' : ' ';
  return [`    ${name}${text === '' ? '' : gap + text}`, `      ${said}`];
}

function endLines({ fate, reason, place, out }: Explanation): string[] {
  const words = {
    forwarded: 'Forwarded',
    sent: 'Sent',
    delivered: 'Delivered to the router itself',
    dropped: `Dropped: ${reason}${place === undefined ? '' : ` at ${place}`}`,
    held: 'Held: a fragment that waits for the rest',
    refused: `Refused, its sender gets ${reason}`,
  };
  return [words[fate], ...out.map((one) => `  ${one.interface} > ${one.packet}`)];
}

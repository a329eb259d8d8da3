/** Whoever listens to the table hears of it from then on, and nobody is called while no one does. */
import { describe, expect, it } from 'vitest';
import { Traffic } from '../../bench/engine/traffic.js';
import { ConnectionEmitter } from '../../lib/conntrack/connection-emitter.js';

describe('the emitter of connection events', () => {
  it('tells of each listener that comes or goes, however it does', () => {
    const counts: number[] = [];
    const emitter: ConnectionEmitter = new ConnectionEmitter(() => counts.push(emitter.listenerCount('new')));
    const listener = () => {};
    emitter.on('new', listener);
    emitter.addListener('new', listener);
    emitter.once('new', listener);
    emitter.emit('new', undefined as never);
    emitter.off('new', listener);
    emitter.on('new', listener);
    emitter.removeListener('new', listener);
    emitter.on('new', listener);
    emitter.removeAllListeners();
    emitter.on('new', listener);
    emitter.removeAllListeners('new');
    expect(counts).toEqual([1, 2, 3, 2, 0, 1, 0, 1, 0, 1, 0]);
  });

  it('lets the tracker call nobody while there are no listeners', () => {
    const { engine } = new Traffic('udp', 1);
    const { connections, tracker } = engine;
    const heard = () => [tracker.onConfirm !== undefined, tracker.context.onChange !== undefined];
    expect(heard()).toEqual([false, false]);
    const listener = () => {};
    connections.events.on('new', listener);
    expect(heard()).toEqual([true, false]);
    connections.events.once('assured', listener);
    expect(heard()).toEqual([true, true]);
    connections.events.off('new', listener).on('update', listener).off('assured', listener);
    expect(heard()).toEqual([false, true]);
    connections.events.removeAllListeners();
    expect(heard()).toEqual([false, false]);
  });

  it('brings new, update and destroy to those who listen, once to those who asked for one', () => {
    const traffic = new Traffic('udp', 2);
    const { connections } = traffic.engine;
    const told: string[] = [];
    connections.events.once('new', () => told.push('first'));
    connections.events.on('new', () => told.push('new'));
    connections.events.on('update', () => told.push('update'));
    connections.events.on('destroy', (_connection, reason) => told.push(reason));
    traffic.establish();
    connections.flush();
    expect(told.filter((word) => word === 'first')).toEqual(['first']);
    expect(told.filter((word) => word === 'new')).toHaveLength(2);
    expect(told.filter((word) => word === 'flushed')).toHaveLength(2);
    expect(told).toContain('update');
  });
});

import { Hosts } from './hosts.ts'

/** Where the hosts are. Host 0 is the origin's, the crowd's are 1 to N. */
export interface Site extends Disposable {
  /** Whether links have rates and counters. */
  readonly shaped: boolean
  /** How to run a program on a host: command and arguments. The pid is the program's. */
  command(host: number, program: string, ...args: readonly string[]): readonly [string, ...string[]]
  address(host: number): string
  /** The port to listen on: `wanted`, or 0 where all hosts share one address. */
  port(wanted: number): number
}

/** @param mbits each way, of the origin's host and of each other */
export function openSite(mbits: readonly number[], loopback: boolean): Site {
  return loopback ? LOOPBACK : new Hosts(mbits)
}

/** All hosts are this one: for machines without the rights. No rates, so what it measures is the CPU. */
const LOOPBACK: Site = Object.freeze({
  shaped: false,
  command: (_host: number, program: string, ...args: readonly string[]): readonly [string, ...string[]] => [program, ...args],
  address: () => '127.0.0.1',
  port: () => 0,
  [Symbol.dispose]: () => {},
})

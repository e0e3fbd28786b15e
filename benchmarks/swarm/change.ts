import type { Scenario } from './scenario.ts'

export interface Size {
  readonly hosts?: number | undefined
  readonly mbit?: number | undefined
  /** Of the largest layer; the others, and after how much an origin fails, shrink and grow with it. */
  readonly largestBytes?: number | undefined
}

/** The scenario with other numbers. */
export function resized(scenario: Scenario, { hosts = scenario.hosts, mbit = scenario.mbit, largestBytes }: Size): Scenario {
  const largest = Math.max(...scenario.layerBytes)
  const factor = largestBytes === undefined ? 1 : largestBytes / largest
  const scaled = (bytes: number): number => Math.round(bytes * factor)
  const faults = scenario.faults && { ...scenario.faults, dropAfterBytes: scaled(scenario.faults.dropAfterBytes) }
  return { ...scenario, hosts, mbit, layerBytes: scenario.layerBytes.map(scaled), ...(faults && { faults }) }
}

import { type Spread, show } from './stats.ts'

export interface Aim {
  readonly than: 'less' | 'more'
  readonly value: number
}

export interface Measured {
  readonly what: string
  readonly unit: string
  readonly values: Spread
  readonly aim?: Aim
  readonly digits?: number
}

export const COLUMNS = ['what', 'unit', 'median (min–max)', 'aim', ''] as const

/** One row of a table, with what became of its aim. */
export function row({ what, unit, values, aim, digits = 2 }: Measured): string[] {
  const words =
    aim === undefined ? ['', ''] : [`${aim.than === 'less' ? '≤' : '≥'} ${aim.value}`, met(values, aim) ? 'met' : 'MISSED']
  return [what, unit, show(values, digits), ...words]
}

export function met({ median }: Spread, { than, value }: Aim): boolean {
  return than === 'less' ? median <= value : median >= value
}

import { ShoalError } from '../errors.ts'

const UNITS = Object.freeze({ s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 })

/** `90s`, `30m`, `12h`, `7d`, or several in a row (`1h30m`), in milliseconds. @throws ShoalError CONFIG_INVALID */
export function parseDuration(text: string): number {
  if (!/^(\d{1,9}[smhd])+$/.test(text))
    throw new ShoalError('CONFIG_INVALID', `not a duration: "${text.slice(0, 100)}"; for example 90s, 30m, 12h or 7d`)
  let ms = 0
  for (const [, count, unit] of text.matchAll(/(\d+)([smhd])/g)) ms += Number(count) * UNITS[unit as keyof typeof UNITS]
  return ms
}

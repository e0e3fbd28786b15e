/** Up to `count` of the items, in random order (the first steps of a Fisher-Yates shuffle). */
export function sample<T>(items: readonly T[], count: number, random: () => number): T[] {
  const pool = [...items]
  const taken = Math.min(count, pool.length)
  for (let i = 0; i < taken; i++) {
    const at = i + Math.floor(random() * (pool.length - i))
    const item = pool[at] as T
    pool[at] = pool[i] as T
    pool[i] = item
  }
  return pool.slice(0, taken)
}

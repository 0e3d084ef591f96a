/**
 * Replaces a method by one that decides what happens around the original. For preloads of tests
 * only.
 */

type Method = (this: unknown, ...args: unknown[]) => unknown

/**
 * `around` gets the original with its arguments bound, `this`, and the arguments.
 *
 * @throws if there is no such method: a fault that hangs on nothing would never fire
 */
export function around(
  target: object,
  name: string,
  instead: (call: () => unknown, self: unknown, args: readonly unknown[]) => unknown,
): void {
  const methods = target as Record<string, Method | undefined>
  const original = methods[name]
  if (typeof original !== 'function') throw new Error(`nothing is called ${name} there`)
  methods[name] = function (this: unknown, ...args: unknown[]): unknown {
    return instead(() => original.apply(this, args), this, args)
  }
}

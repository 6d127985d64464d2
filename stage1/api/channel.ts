/**
 * From work that sends to a loop that receives, one thing at a time.
 *
 * @module
 */

/** Sends; false if nobody receives any more. Settles when it was received. */
export type Send<Value> = (value: Value) => Promise<boolean>;

/**
 * What `work` sends, as it sends it: it waits until each value is received. Its failure is
 * the receiver's. A receiver that stops early is noticed at the next value.
 */
export async function* channel<Value>(
  work: (send: Send<Value>) => Promise<void>,
): AsyncGenerator<Value, void, undefined> {
  let offered: { value: Value; taken: (goesOn: boolean) => void } | undefined;
  let wake = Promise.withResolvers<void>();
  let over = false;
  let stopped = false;
  const send: Send<Value> = (value) => {
    if (stopped) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    offered = { value, taken: resolve };
    wake.resolve();
    return promise;
  };
  const working = work(send).finally(() => {
    over = true;
    wake.resolve();
  });
  working.catch(() => undefined); // Thrown below, to the receiver.
  try {
    while (true) {
      await wake.promise;
      wake = Promise.withResolvers();
      const now = offered;
      offered = undefined;
      if (now) {
        let goesOn = false;
        try {
          yield now.value;
          goesOn = true;
        } finally {
          // A receiver that stops here never comes back to say so.
          stopped = !goesOn;
          now.taken(goesOn);
        }
      }
      if (over) break;
    }
  } finally {
    stopped = true;
    offered?.taken(false);
    await working;
  }
}

/**
 * A start as a list of steps, each with its undo: what starts and what stops share one
 * list and cannot drift apart.
 *
 * @module
 */

/** One thing that is done on the way up, and taken back on the way down. */
export interface Step<Context> {
  readonly name: string;
  /** Does it. On failure nothing of this step is left. */
  apply?(context: Context): Promise<void> | void;
  /**
   * Takes back what `apply` did, in this process or in one before it. What is not there,
   * or not any more, is success.
   */
  undo?(context: Context): Promise<void> | void;
}

/** Steps that broke off. `cause` is why; everything that was done is taken back. */
export class StepError extends Error {
  /**
   * @param step The step that failed.
   * @param leftover Why taking back failed, if it did.
   */
  constructor(readonly step: string, cause: unknown, readonly leftover?: unknown) {
    super(`Step ${step} failed`, { cause });
    this.name = "StepError";
  }
}

/**
 * Runs `steps` in order; when one fails, takes the finished ones back, newest first.
 *
 * @throws {StepError}
 */
export async function runSteps<Context>(
  steps: readonly Step<Context>[],
  context: Context,
): Promise<void> {
  for (const [index, step] of steps.entries()) {
    try {
      const applied = step.apply?.(context);
      if (applied) await applied;
    } catch (cause) {
      const leftover = await undoSteps(steps.slice(0, index), context)
        .then(() => undefined, (error) => error);
      throw new StepError(step.name, cause, leftover);
    }
  }
}

/**
 * Takes all `steps` back, the last one first. One that fails does not keep the others.
 *
 * @throws The failure, or an `AggregateError` of several.
 */
export async function undoSteps<Context>(
  steps: readonly Step<Context>[],
  context: Context,
): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps.toReversed()) {
    try {
      const undone = step.undo?.(context);
      if (undone) await undone;
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) {
    const messages = failures.map((each) => each instanceof Error ? each.message : String(each));
    throw new AggregateError(failures, messages.join("; "));
  }
}

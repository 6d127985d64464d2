/**
 * Where every process of Kurma starts. How it was called decides what it becomes,
 * and nothing else is loaded before that is known: an intercept in the environment
 * first (stage2, stage3), then the name it was called by.
 *
 * @module
 */

if (Deno.env.has("SPAWNER_INTERCEPT") || Deno.env.has("INITD_INTERCEPT")) {
  const { becomeNative } = await import("./ffi/intercept.ts");
  becomeNative();
} else {
  const { dispatch } = await import("./cmd/dispatch.ts");
  Deno.exit(await dispatch());
}

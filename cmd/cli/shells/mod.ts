/**
 * The completion scripts, by the name of their shell.
 *
 * @module
 */

import bash from "./kurma.bash" with { type: "text" };
import fish from "./kurma.fish" with { type: "text" };
import zsh from "./kurma.zsh" with { type: "text" };

export const scripts: Readonly<Record<string, string>> = { bash, fish, zsh };

/**
 * The YAML writer, in a module of its own: it is large, and loaded only where somebody asks for it.
 *
 * @module
 */

export { stringify } from "yaml";

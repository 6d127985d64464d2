/**
 * Holds who calls by a socket that is for a role to what the role may: containers are given
 * the API by such a socket.
 *
 * @module
 */

import type { Interceptor } from "@connectrpc/connect";
import { peerKey } from "../api/calls.ts";
import { restrictionsKey } from "../api/via.ts";
import { requireRole, restrictionsOf } from "./rights.ts";

/** Before all methods; what is not in the table of rights is nobody's. */
export const scoped: Interceptor = (next) => (request) => {
  const peer = request.contextValues.get(peerKey);
  // An administrator's methods are all that there are, and kurma-api inside says for whom it calls.
  if (peer?.kind !== "unix" || peer.role === undefined || peer.role === "admin") {
    return next(request);
  }
  const { method, contextValues } = request;
  requireRole(peer.role, method, `the API is here for ${peer.role}s`, (least) => {
    return `Make the container with the API for ${least}s: --api ${least}`;
  });
  contextValues.set(restrictionsKey, restrictionsOf(peer.role));
  return next(request);
};

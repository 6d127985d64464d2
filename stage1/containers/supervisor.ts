/**
 * The stage2 server of this state folder, as the manager sees it: always there. It is
 * started if it is not, found again if it is, and started anew when it dies.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { isErrno, type Kernel } from "../../ffi/kernel.ts";
import { type Exit, Stage2, startServer } from "../../stage2/server.ts";

/** Told by the supervisor. */
export interface Reports {
  /** A run has ended. Settles when that is on our disk too. */
  ended(run: string, exit: Exit): Promise<void>;
  /**
   * There is a server: the first one, or one in place of one that died. What it has is to be
   * compared with what is recorded; nobody else gets to ask it anything until this settles.
   */
  connected(stage2: Stage2): Promise<void>;
  /** What an operator should know. */
  log(message: string): void;
}

/** How long a server may take until it answers. */
const patienceMs = 10_000;

/** How long after a failure to start one it is tried again. */
const retryMs = 500;

/** Keeps a connection to the server below `ROOT/stage2`. */
export class Supervisor implements Disposable {
  readonly #kernel: Kernel;
  readonly #folder: string;
  readonly #reports: Reports;
  #connection: Promise<Stage2>;
  #current: Stage2 | undefined;
  #stopped = false;

  /** Connects to the server, or starts one; {@linkcode server} says when it is there. */
  constructor(kernel: Kernel, root: string, reports: Reports) {
    this.#kernel = kernel;
    this.#folder = `${root}/stage2`;
    this.#reports = reports;
    Deno.mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    this.#connection = this.#open();
  }

  /**
   * The server; while a new one is being started, waits for it.
   *
   * @throws {KurmaError} `unavailable`: none can be started.
   */
  server(): Promise<Stage2> {
    return this.#connection;
  }

  /**
   * Makes a request that may be made twice: of a server that dies meanwhile, and then of the
   * one in its place.
   *
   * @throws What `request` throws; {@linkcode server}'s errors.
   */
  async ask<Value>(request: (stage2: Stage2) => Promise<Value>): Promise<Value> {
    while (true) {
      const stage2 = await this.server();
      try {
        return await request(stage2);
      } catch (error) {
        if (!stage2.isClosed || this.#stopped) throw error;
      }
    }
  }

  /** The record of ends that servers left on disk; empty if there is none. */
  record(): Uint8Array {
    try {
      return Deno.readFileSync(`${this.#folder}/exits`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return new Uint8Array();
      throw error;
    }
  }

  /** Lets go of the server, which goes on. */
  [Symbol.dispose](): void {
    this.#stopped = true;
    this.#current?.[Symbol.dispose]();
  }

  async #open(): Promise<Stage2> {
    const stage2 = this.#connect() ?? this.#launch();
    this.#current = stage2;
    await answered(stage2);
    await this.#reports.connected(stage2);
    stage2.closed.then(() => this.#lost());
    return stage2;
  }

  #connect(): Stage2 | undefined {
    try {
      return new Stage2(this.#kernel, this.#socket, {
        onExit: (run, exit) => this.#reports.ended(run, exit),
        onNotice: (text) => this.#reports.log(text),
      });
    } catch (error) {
      if (isErrno(error, "ENOENT", "ECONNREFUSED")) return undefined;
      throw error;
    }
  }

  #launch(): Stage2 {
    this.#kernel.remove(this.#socket); // Of one that is dead.
    startServer(this.#kernel, this.#socket, this.#folder);
    const stage2 = this.#connect(); // It listens already: its socket was made by us.
    if (stage2 === undefined) throw new KurmaError("unavailable", "Cannot start stage2");
    return stage2;
  }

  /** The server died, or another kurmad took our place, which the state's lock rules out. */
  #lost(): void {
    if (this.#stopped) return;
    this.#reports.log("stage2 is gone; starting another");
    this.#connection = this.#open();
    this.#connection.catch((error) => {
      this.#reports.log(`Cannot start stage2: ${error.message}; trying again`);
      Deno.unrefTimer(setTimeout(() => this.#lost(), retryMs));
    });
  }

  get #socket(): string {
    return `${this.#folder}/socket`;
  }
}

/** Waits until the server has answered for the first time. */
async function answered(stage2: Stage2): Promise<void> {
  let timer = 0;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new KurmaError("unavailable", `Cannot reach stage2: no answer in ${patienceMs / 1000} s`),
      );
    }, patienceMs);
  });
  try {
    await Promise.race([stage2.list(), late]);
  } finally {
    clearTimeout(timer);
  }
}

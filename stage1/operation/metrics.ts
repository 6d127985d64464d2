/**
 * Numbers about the daemon, as Prometheus reads them.
 *
 * @module
 * @see Prometheus exposition format 0.0.4
 */

/** What tells series of one metric apart. */
export type Labels = Readonly<Record<string, string>>;

/** The media type of {@linkcode Registry.text}. */
export const contentType = "text/plain; version=0.0.4; charset=utf-8";

/** A label with more values than this has a user's words in it. */
const maxSeries = 1_000;

const nameGrammar = /^[a-z][a-z0-9_]*$/;

/** All metrics of a process. */
export class Registry {
  readonly #metrics = new Map<string, { head: string; samples: () => string[] }>();

  /** A number that only grows. Its name ends with `_total`. */
  counter(name: string, help: string): Counter {
    const series = new Series();
    this.#add(name, "counter", help, () => series.lines(name));
    return { add: (labels = {}, amount = 1) => series.change(labels, (value) => value + amount) };
  }

  /** A number that goes up and down. */
  gauge(name: string, help: string): Gauge {
    const series = new Series();
    this.#add(name, "gauge", help, () => series.lines(name));
    return { set: (value, labels = {}) => series.change(labels, () => value) };
  }

  /** A number that is looked at when somebody asks. */
  observed(name: string, help: string, look: () => Iterable<readonly [Labels, number]>): void {
    this.#add(name, "gauge", help, () => {
      const series = new Series();
      for (const [labels, value] of look()) series.change(labels, () => value);
      return series.lines(name);
    });
  }

  /**
   * How often a number lay where.
   *
   * @param bounds Upper ends of the ranges, growing, in the unit that the name ends with.
   */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const counts = bounds.map(() => 0);
    let count = 0;
    let sum = 0;
    this.#add(name, "histogram", help, () => [
      ...bounds.map((bound, at) => `${name}_bucket{le="${bound}"} ${counts[at]}`),
      `${name}_bucket{le="+Inf"} ${count}`,
      `${name}_sum ${sum}`,
      `${name}_count ${count}`,
    ]);
    return {
      observe(value) {
        bounds.forEach((bound, at) => counts[at] += value <= bound ? 1 : 0);
        count++;
        sum += value;
      },
    };
  }

  /** Everything, as Prometheus asks for it. */
  text(): string {
    return [...this.#metrics.values()]
      .map(({ head, samples }) => [head, ...samples(), ""].join("\n")).join("");
  }

  #add(name: string, kind: string, help: string, samples: () => string[]): void {
    if (!nameGrammar.test(name) || this.#metrics.has(name)) {
      throw new TypeError(`No name for a further metric: ${name}`);
    }
    const escaped = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
    this.#metrics.set(name, { head: `# HELP ${name} ${escaped}\n# TYPE ${name} ${kind}`, samples });
  }
}

export interface Counter {
  add(labels?: Labels, amount?: number): void;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
}

export interface Histogram {
  observe(value: number): void;
}

/** The values of one metric by their labels. */
class Series {
  readonly #values = new Map<string, number>();

  change(labels: Labels, change: (value: number) => number): void {
    const key = labelText(labels);
    const value = this.#values.get(key);
    if (value === undefined && this.#values.size >= maxSeries) return;
    this.#values.set(key, change(value ?? 0));
  }

  lines(name: string): string[] {
    return [...this.#values].map(([labels, value]) => `${name}${labels} ${number(value)}`);
  }
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).sort(([one], [other]) => one < other ? -1 : 1)
    .map(([name, value]) => `${name}="${escapeValue(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeValue(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function number(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

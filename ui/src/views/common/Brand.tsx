import type { JSX } from "preact";

/** The mark: a harbour light over the water. */
export function Mark({ size = 28 }: { size?: number }): JSX.Element {
  return (
    <svg class="mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect class="mark-ground" width="32" height="32" rx="8" />
      <path class="mark-beam" d="M16 10.2 4.5 6.4v7.2zM16 10.2l11.500-3.800v7.2z" />
      <path
        class="mark-tower"
        d="M14.200 12.600h3.600l1.300 9.400h-6.200zM13.600 8.400h4.800v3.200h-4.800zM14.300 7.400 16 5.400l1.700 2z"
      />
      <path
        class="mark-water"
        d="M5 24.600c1.800 0 1.800 1.300 3.700 1.300s1.800-1.300 3.600-1.300 1.900 1.300 3.700 1.300 1.800-1.300 3.700-1.300 1.800 1.300 3.600 1.300 1.900-1.300 3.700-1.300"
      />
    </svg>
  );
}

/** The mark with the name, linking home. */
export function Brand({ href }: { href: string }): JSX.Element {
  return (
    <a class="brand" href={href} aria-label="Homeport">
      <Mark />
      <span>Homeport</span>
    </a>
  );
}

import { describe, expect, it } from "vitest";
import { readableOnTheWay, tokenIn } from "./LoginPage";

describe("tokenIn", () => {
  it.each([
    ["  abc123\n", "abc123"],
    ["http://127.0.0.1:8888/tree?token=abc123", "abc123"],
    ["http://h/?x=1&token=a%2Bb#f", "a+b"],
    ["token", "token"],
  ])("finds in %j the token %j", (pasted, token) => {
    expect(tokenIn(pasted)).toBe(token);
  });
});

describe("readableOnTheWay", () => {
  it.each([
    ["http:", "notebooks.example", true],
    ["http:", "10.0.0.7", true],
    ["http:", "localhost", false],
    ["http:", "127.0.0.1", false],
    ["http:", "[::1]", false],
    ["http:", "127.0.0.1.evil.example", true],
    ["https:", "notebooks.example", false],
  ])("%s//%s: %s", (protocol, hostname, wanted) => {
    expect(readableOnTheWay({ protocol, hostname })).toBe(wanted);
  });
});

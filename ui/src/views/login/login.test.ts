import { describe, expect, it } from "vitest";
import { tokenIn } from "./LoginPage";

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

// The audits that graphql-http has for servers, against ours: every one, whether it is a MUST, a SHOULD
// or a MAY. Prints what each that is not kept says, then how many are.
//
// node audits.mjs URL TOKEN

import { serverAudits } from "graphql-http";

const [url, token] = process.argv.slice(2);
const withToken = (target, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set("authorization", `Bearer ${token}`);
  return fetch(target, { ...init, headers });
};

const audits = serverAudits({ url, fetchFn: withToken });
let kept = 0;
for (const audit of audits) {
  const result = await audit.fn();
  if (result.status === "ok") {
    kept += 1;
  } else {
    console.log(`${result.status} ${result.id} ${result.name}: ${result.reason}`);
  }
}
console.log(`ok ${kept} of ${audits.length}`);

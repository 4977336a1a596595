// An authorization server that no one here wrote (oidc-provider), for one test: it makes access tokens
// for whatever resource a client names, signs claims that a test invents, and says where it listens.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';
import * as jose from 'jose';

const { privateKey } = await jose.generateKeyPair('RS256', { extractable: true });
const other = await jose.generateKeyPair('RS256', { extractable: true });
const key = { ...(await jose.exportJWK(privateKey)), kid: 'one', alg: 'RS256', use: 'sig' };

const server = createServer();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  jwks: { keys: [key] },
  clients: [{
    client_id: 'assistant', client_secret: 'canary', grant_types: ['client_credentials'],
    redirect_uris: [], response_types: [], token_endpoint_auth_method: 'client_secret_post',
  }],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        audience: resource, scope: 'read run approve admin', accessTokenFormat: 'jwt',
        accessTokenTTL: 600, jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

// What no authorization server would make: claims and headers as they are sent here.
const invent = async (request) => {
  let body = '';
  for await (const piece of request) body += piece;
  const { header, claims, by } = JSON.parse(body);
  if (header.alg === 'none') {
    const part = (value) => jose.base64url.encode(JSON.stringify(value));
    return `${part(header)}.${part(claims)}.`;
  }
  if (header.alg === 'HS256') {
    const secret = new TextEncoder().encode(await jose.exportSPKI(await jose.importJWK(
      { kty: key.kty, n: key.n, e: key.e, alg: 'RS256' }, 'RS256')));
    return new jose.SignJWT(claims).setProtectedHeader(header).sign(secret);
  }
  const signer = by === 'another' ? other.privateKey : privateKey;
  return new jose.SignJWT(claims).setProtectedHeader(header).sign(signer);
};

const serve = provider.callback();
server.on('request', async (request, response) => {
  if (request.url !== '/invent') return serve(request, response);
  response.end(await invent(request));
});
console.log(issuer);

const test = require('node:test');
const assert = require('node:assert');
const { slugify } = require('../slug.js');

test('one space becomes a dash', () => {
  assert.strictEqual(slugify('Hello World'), 'hello-world');
});

test('every space becomes a dash', () => {
  assert.strictEqual(slugify('The Quick Brown Fox'), 'the-quick-brown-fox');
});

test('dashes that are there stay single', () => {
  assert.strictEqual(slugify('well - known'), 'well-known');
});

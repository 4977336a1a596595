// What @graphql-eslint holds our schema to: all that it recommends, Relay's rules for lists, and a
// description of everything. Four of the five exceptions that both linters have together are here; the
// first is in .graphql-schema-linterrc.yml.

import { fileURLToPath } from "node:url";

import graphql from "@graphql-eslint/eslint-plugin";

const schema = fileURLToPath(new URL("../../../docs/schema.graphql", import.meta.url));

// Exception 2: these are parts of what has an id, or answers. Nobody finds them again by themselves.
const values = {
  suffixes: ["Connection", "Edge", "Payload", "Plan"],
  types: [
    "Actor",
    "Block",
    "Cost",
    "DiffJudgement",
    "JobChange",
    "ListedRecipe",
    "Limits",
    "Model",
    "OutcomeCount",
    "PageInfo",
    "PlannedTarget",
    "PullRequest",
    "Recipe",
    "RecipeUse",
    "RecipeVariable",
    "ServerInfo",
    "Share",
    "UserError",
    "Variable",
    "Viewer",
  ],
};

export default [
  {
    files: ["**/*.graphql"],
    languageOptions: {
      parser: graphql.parser,
      parserOptions: { graphQLConfig: { schema } },
    },
    plugins: { "@graphql-eslint": graphql },
    rules: {
      ...graphql.configs["flat/schema-recommended"].rules,
      ...graphql.configs["flat/schema-relay"].rules,
      "@graphql-eslint/require-description": [
        "error",
        {
          types: true,
          rootField: true,
          DirectiveDefinition: true,
          FieldDefinition: true,
          InputValueDefinition: true,
          EnumValueDefinition: true,
        },
      ],
      "@graphql-eslint/strict-id-in-types": ["error", { exceptions: values }],
      // Exception 3: a log is read forwards, so lists have `first` and `after` alone.
      "@graphql-eslint/relay-arguments": ["error", { includeBoth: false }],
      // Exception 4: what has a small bound of its own, such as the targets of a job, is a plain list;
      // a page of it would only be one more question to ask.
      "@graphql-eslint/relay-edge-types": ["error", { listTypeCanWrapOnlyEdgeType: false }],
      // Exception 5: `Job.jobId` and `Event.eventHash` are called so everywhere else: in the log, in
      // `--json` and in addresses. `id` is the global id.
      "@graphql-eslint/no-typename-prefix": "off",
    },
  },
];

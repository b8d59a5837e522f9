// Writes the JSON Schemas of custom resources that modules of @kubernetes-models carry, one file a
// kind: `node extract_schemas.cjs FOLDER MODULE…`. The modules hand their schema to `register` when
// one of the class is made, so everything else that they require is a stand-in here.
const Module = require('node:module');
const fs = require('node:fs');
const path = require('node:path');

const [folder, ...modules] = process.argv.slice(2);
let registered = {};

const load = Module._load;
Module._load = function (request, parent, isMain) {
  if (request === '@kubernetes-models/validate') {
    return { register: (id, schema) => { registered[id] = schema; } };
  }
  if (request === '@kubernetes-models/base') {
    const setSchema = (_class, _id, register) => register();
    return {
      Model: class { static setSchema = setSchema; },
      createTypeMetaGuard: () => () => true,
      setSchema,
    };
  }
  if (request.includes('/_schemas/')) {
    return { addSchema: () => {} };
  }
  return load.call(this, request, parent, isMain);
};

for (const file of modules) {
  registered = {};
  require(path.resolve(file));
  const schemas = Object.values(registered);
  if (schemas.length !== 1) {
    throw new Error(`${file} has ${schemas.length} schemas rather than one`);
  }
  const kind = path.basename(file, '.js');
  fs.writeFileSync(path.join(folder, `${kind}.json`), JSON.stringify(schemas[0], null, 1));
}

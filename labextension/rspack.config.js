// The TypeScript sources are bundled as they are: a build needs neither the compiler nor JupyterLab's own
// packages, which JupyterLab brings at run time. `jlpm run types` checks the types.
module.exports = {
  resolve: { extensions: ['.ts', '.js'] },
  module: {
    rules: [
      {
        test: /\.ts$/,
        loader: 'builtin:swc-loader',
        options: {
          jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }
        }
      }
    ]
  }
};
